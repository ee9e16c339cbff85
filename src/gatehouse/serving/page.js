"use strict";
const facts = JSON.parse(document.getElementById("facts").textContent);
const at = (id) => document.getElementById(id);
const make = (tag, text = "", props = {}) => Object.assign(document.createElement(tag), { textContent: text, ...props });
const MOST_LINES = 5; // the form must stay in sight
const numeric = (column) => column.type === "integer" || column.type === "number";

at("target").textContent = facts.target;
at("digest").textContent = facts.digest;
document.title = `Try a prediction of ${facts.target}`;

function hint(column) {
  const range = column.min === null && column.max === null ? "" : `, ${column.min ?? "…"} to ${column.max ?? "…"}`;
  return `${column.type}${range}${column.nullable ? ", may be empty" : ""}`;
}

/** What is filled in: the middle of a range, the first category, the present hour. */
function example(column) {
  if (column.type === "boolean") return "false";
  if (column.type === "datetime") return `${new Date().toISOString().slice(0, 13)}:00`;
  if (!numeric(column)) return column.categories[0] ?? "";
  const low = column.min ?? column.max ?? 0, high = column.max ?? column.min ?? 0;
  const middle = low + (high - low) / 2;
  if (column.type === "integer") return String(BigInt(Math.round(middle)));
  const short = Number(middle.toPrecision(4));
  return String(short < low || short > high ? middle : short);
}

function control(column) {
  const known = column.type === "boolean" ? ["true", "false"] : column.categories;
  if (known.length && known.length <= facts.most_choices) {
    const choice = make("select");
    if (column.nullable) choice.append(make("option", "(empty)", { value: "" }));
    choice.append(...known.map((value) => make("option", value, { value })));
    return choice;
  }
  const kind = { integer: "number", number: "number", datetime: "datetime-local" }[column.type] ?? "text";
  return make("input", "", { type: kind, ...(kind === "text" ? {} : { step: column.type === "integer" ? "1" : "any" }) });
}

/** Label, control, hint and a place for what is wrong with it. */
function field(id, name, input, about) {
  const box = make("div", "", { className: "field" });
  const [said, wrong] = [make("span", about, { id: `${id}-hint`, className: "hint" }), make("span", "", { id: `${id}-problem`, className: "problem" })];
  input.id = id;
  input.setAttribute("aria-describedby", `${said.id} ${wrong.id}`);
  box.append(make("label", name, { htmlFor: id }), input, said, wrong);
  at("fields").append(box);
  return (problem) => {
    wrong.textContent = problem;
    box.classList.toggle("wrong", problem !== "");
    input.setAttribute("aria-invalid", String(problem !== ""));
  };
}

const fields = facts.columns.map((column, k) => {
  const input = control(column);
  const mark = field(`field-${k}`, column.name, input, hint(column));
  input.value = example(column);
  return { column, input, mark };
});
const key = make("input", "", { type: "password", autocomplete: "off" });
const markKey = facts.keys ? field("key", "API key", key, "as it was given to you") : () => {};

/** A value as JSON; by text, since a number of JavaScript would round a long integer. */
function json({ column, input }) {
  if (input.validity.badInput) return '"?"'; // the service says what it wants instead
  if (input.value === "") return column.type === "string" && !column.nullable ? '""' : "null";
  if (column.type === "boolean" || (numeric(column) && /^-?[1-9]\d*$/.test(input.value))) return input.value;
  return JSON.stringify(numeric(column) ? Number(input.value) : input.value);
}

function show(status, said) {
  const good = status === 200;
  at("answer").textContent = good ? `${facts.target}: ${said.prediction}` : said.error;
  at("answer").classList.toggle("refused", !good);
  at("probabilities").replaceChildren();
  const found = Object.entries(said.probabilities ?? {}).sort((a, b) => b[1] - a[1]);
  for (const [label, p] of found.slice(0, MOST_LINES)) {
    const line = at("probabilities").insertRow();
    line.append(make("th", label, { scope: "row" }));
    const bar = make("meter", "", { value: p });
    bar.setAttribute("aria-hidden", "true"); // the number stands beside it
    line.insertCell().append(bar);
    line.insertCell().textContent = p.toFixed(3);
  }
  if (found.length > MOST_LINES) {
    at("probabilities").insertRow().append(make("th", `and ${found.length - MOST_LINES} less probable`, { className: "hint" }));
  }
  markKey(status === 401 ? said.error : "");
  for (const { column, mark } of fields) {
    const name = [...column.name].slice(0, 200).join(""); // so long are names in an error
    mark((said.fields ?? []).find((one) => one.field === name)?.problem ?? "");
  }
  document.querySelector(".wrong :is(input, select)")?.focus();
}

let asked = 0;
at("row").addEventListener("submit", async (event) => {
  event.preventDefault();
  const mine = ++asked;
  const body = `{${fields.map((one) => `${JSON.stringify(one.column.name)}: ${json(one)}`).join(", ")}}`;
  const quoted = body.replaceAll("'", "'\\''");
  const secret = facts.keys ? ' -H "X-API-Key: $KEY"' : "";
  at("curl").textContent = `curl -s ${new URL("predict", location)} -H 'Content-Type: application/json'${secret} -d '${quoted}'`;
  const headers = { "Content-Type": "application/json" };
  if (key.value) headers["X-API-Key"] = key.value;
  let answer = [0, { error: "the service cannot be reached" }];
  try {
    const reply = await fetch("predict", { method: "POST", headers, body });
    answer = [reply.status, await reply.json()];
  } catch { /* the sentence above says it */ }
  if (mine === asked) show(...answer); // an older answer must not replace a newer one
});
