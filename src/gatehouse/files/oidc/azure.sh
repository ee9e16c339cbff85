#!/bin/sh
# Azure trusts this repository: one application reads (any run of it), one writes (environment `data` alone,
# which the job `bucket` of CT has on main). Paste it where `az` and `gh` are logged in; say your storage account.
set -eu
store=${STORE:?STORE=NAME: the storage account of container @BUCKET@}
scope=$(az storage account show --name "$store" --query id --output tsv)/blobServices/default/containers/@BUCKET@
graph=https://graph.microsoft.com/beta/applications

application() { # NAME ROLE TRUSTED: what it may do, and whom it trusts; prints its id
  id=$(az ad app create --display-name "$1" --query appId --output tsv)
  az ad sp create --id "$id" --output none
  az role assignment create --assignee "$id" --role "$2" --scope "$scope" --output none
  az rest --method post --url "$graph/$(az ad app show --id "$id" --query id --output tsv)/federatedIdentityCredentials" --output none \
    --body '{"name": "github", "issuer": "https://token.actions.githubusercontent.com", "audiences": ["api://AzureADTokenExchange"], '"$3"'}'
  echo "$id"
}
any="\"claimsMatchingExpression\": {\"languageVersion\": 1, \"value\": \"claims['sub'] matches '@SUBJECT@:*'\"}"
reads=$(application @PROJECT@-reads "Storage Blob Data Reader" "$any")
writes=$(application @PROJECT@-writes "Storage Blob Data Contributor" '"subject": "@SUBJECT@:environment:data"')

gh variable set AZURE_TENANT_ID --repo @REPOSITORY@ --body "$(az account show --query tenantId --output tsv)"
gh variable set AZURE_STORAGE_ACCOUNT --repo @REPOSITORY@ --body "$store"
gh variable set AZURE_CLIENT_ID --repo @REPOSITORY@ --body "$reads"
gh variable set AZURE_CLIENT_ID --repo @REPOSITORY@ --env data --body "$writes"
