"use strict";
const facts = JSON.parse(document.getElementById("facts").textContent);
const at = (id) => document.getElementById(id);
const make = (tag, text = "", props = {}) => Object.assign(document.createElement(tag), { textContent: text, ...props });
const fields = new Map();

at("target").textContent = facts.target;
at("digest").textContent = facts.digest;

function hint(column) {
  const range = column.min === null && column.max === null ? "" : `, ${column.min ?? "…"} to ${column.max ?? "…"}`;
  return `${column.type}${range}${column.nullable ? ", may be empty" : ""}`;
}

function field(column) {
  if (column.type === "boolean") {
    const choice = make("select");
    choice.append(...["", "true", "false"].map((value) => make("option", value, { value })));
    return choice;
  }
  const kind = { integer: "number", number: "number", datetime: "datetime-local" }[column.type] ?? "text";
  const input = make("input", "", { type: kind });
  if (kind === "number") input.step = column.type === "integer" ? "1" : "any";
  if (kind === "datetime-local") input.step = "1";
  if (column.categories.length) {
    const list = make("datalist", "", { id: `list-${fields.size}` });
    list.append(...column.categories.map((value) => make("option", "", { value })));
    input.setAttribute("list", list.id);
    at("row").append(list);
  }
  return input;
}

for (const column of facts.columns) {
  const input = field(column);
  const label = make("label", column.name);
  label.append(input, make("span", hint(column), { className: "hint" }));
  fields.set(column.name, [column, input]);
  at("row").append(label);
}
const key = make("input", "", { type: "password" });
if (facts.keys) {
  const label = make("label", "API key");
  label.append(key);
  at("row").append(label);
}
at("row").append(make("button", "Predict"));

function row() {
  const found = {};
  for (const [name, [column, input]] of fields) {
    if (input.value === "") found[name] = null;
    else if (column.type === "boolean") found[name] = input.value === "true";
    else if (column.type === "integer" || column.type === "number") found[name] = Number(input.value);
    else found[name] = input.value;
  }
  return found;
}

function show(status, said) {
  at("answer").textContent = status === 200 ? `${facts.target}: ${said.prediction}` : said.error;
  at("probabilities").replaceChildren();
  for (const [label, p] of Object.entries(said.probabilities ?? {}).sort((a, b) => b[1] - a[1]).slice(0, 20)) {
    const line = at("probabilities").insertRow();
    line.insertCell().textContent = label;
    line.insertCell().append(make("meter", "", { value: p }));
    line.insertCell().textContent = p.toFixed(3);
  }
  for (const [name, [, input]] of fields) {
    input.classList.toggle("wrong", (said.fields ?? []).some((one) => one.field === name));
  }
}

at("row").addEventListener("submit", async (event) => {
  event.preventDefault();
  const body = JSON.stringify(row());
  const quoted = body.replaceAll("'", "'\\''");
  at("curl").textContent = `curl -s ${location.href}predict -H 'Content-Type: application/json' -d '${quoted}'`;
  const headers = { "Content-Type": "application/json" };
  if (key.value) headers["X-API-Key"] = key.value;
  try {
    const answer = await fetch("predict", { method: "POST", headers, body });
    show(answer.status, await answer.json());
  } catch {
    at("answer").textContent = "the service cannot be reached";
  }
});
