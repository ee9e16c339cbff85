#!/bin/sh
# AWS trusts this repository: one role reads (any run of it), one writes (environment `data` alone, which
# the job `bucket` of CT has on main). Paste it where `aws` and `gh` are logged in; a role that is there is left.
set -eu
account=$(aws sts get-caller-identity --query Account --output text)
issuer=token.actions.githubusercontent.com
aws iam create-open-id-connect-provider --url "https://$issuer" --client-id-list sts.amazonaws.com || echo "the provider is there"

role() { # NAME SUBJECT ACTIONS: what may take it, and what it may do
  aws iam create-role --role-name "$1" --assume-role-policy-document '{"Version": "2012-10-17", "Statement": [{
    "Effect": "Allow", "Action": "sts:AssumeRoleWithWebIdentity",
    "Principal": {"Federated": "arn:aws:iam::'"$account:oidc-provider/$issuer"'"},
    "Condition": {"StringEquals": {"'"$issuer"':aud": "sts.amazonaws.com"}, "StringLike": {"'"$issuer"':sub": "'"$2"'"}}}]}' || echo "$1 is there"
  aws iam put-role-policy --role-name "$1" --policy-name data --policy-document '{"Version": "2012-10-17", "Statement": [
    {"Effect": "Allow", "Action": "s3:ListBucket", "Resource": "arn:aws:s3:::@BUCKET@"},
    {"Effect": "Allow", "Action": ['"$3"'], "Resource": "arn:aws:s3:::@BUCKET@/*"}]}'
}
role @PROJECT@-reads '@SUBJECT@:*' '"s3:GetObject"'
role @PROJECT@-writes '@SUBJECT@:environment:data' '"s3:GetObject", "s3:PutObject"'

gh variable set AWS_REGION --repo @REPOSITORY@ --body "$(aws configure get region)"
gh variable set AWS_ROLE_ARN --repo @REPOSITORY@ --body "arn:aws:iam::$account:role/@PROJECT@-reads"
gh variable set AWS_ROLE_ARN --repo @REPOSITORY@ --env data --body "arn:aws:iam::$account:role/@PROJECT@-writes"
