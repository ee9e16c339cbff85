#!/bin/sh
# Google Cloud trusts this repository: one account reads (any run of it), one writes (environment `data`
# alone, which the job `bucket` of CT has on main). Paste it where `gcloud` and `gh` are logged in.
set -eu
project=$(gcloud config get-value project)
number=$(gcloud projects describe "$project" --format='value(projectNumber)')
pool=projects/$number/locations/global/workloadIdentityPools/github
gcloud iam workload-identity-pools create github --location=global || echo "the pool is there"
gcloud iam workload-identity-pools providers create-oidc repository-@ID@ --location=global --workload-identity-pool=github \
  --issuer-uri=https://token.actions.githubusercontent.com \
  --attribute-mapping='google.subject=assertion.sub,attribute.repository_id=assertion.repository_id' \
  --attribute-condition="assertion.repository_id == '@ID@'"

account() { # NAME MEMBER ROLE: who may act as it, and what it may do
  gcloud iam service-accounts create "$1"
  gcloud iam service-accounts add-iam-policy-binding "$1@$project.iam.gserviceaccount.com" \
    --role=roles/iam.workloadIdentityUser --member="$2"
  gcloud storage buckets add-iam-policy-binding gs://@BUCKET@ \
    --role="$3" --member="serviceAccount:$1@$project.iam.gserviceaccount.com"
}
account data-@ID@-reads "principalSet://iam.googleapis.com/$pool/attribute.repository_id/@ID@" roles/storage.objectViewer
account data-@ID@-writes "principal://iam.googleapis.com/$pool/subject/@SUBJECT@:environment:data" roles/storage.objectUser

gh variable set GCP_IDENTITY_PROVIDER --repo @REPOSITORY@ --body "$pool/providers/repository-@ID@"
gh variable set GCP_SERVICE_ACCOUNT --repo @REPOSITORY@ --body "data-@ID@-reads@$project.iam.gserviceaccount.com"
gh variable set GCP_SERVICE_ACCOUNT --repo @REPOSITORY@ --env data --body "data-@ID@-writes@$project.iam.gserviceaccount.com"
