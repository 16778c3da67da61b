#!/usr/bin/env bash
# Makes two identities for kubernetes.yaml, with the least roles that do, and prints their ids.
# It can be run again.
#
#   RESOURCE_GROUP=.. ACCOUNT=.. CLUSTER=.. [NAMESPACE=default] examples/deploy/roles.sh
#
# Who runs it needs Contributor on the resource group, to make things, and there or on the account
# also User Access Administrator or Role Based Access Control Administrator, to assign roles.
set -euo pipefail
: "${RESOURCE_GROUP:?} ${ACCOUNT:?} ${CLUSTER:?}"
namespace=${NAMESPACE:-default}
queue=greetings

account=$(az storage account show -g "$RESOURCE_GROUP" -n "$ACCOUNT" --query id -o tsv)
issuer=$(az aks show -g "$RESOURCE_GROUP" -n "$CLUSTER" --query oidcIssuerProfile.issuerUrl -o tsv)

# The queues, through the control plane: that takes no role for data. With them in place, nobody
# else needs the right to make queues in the account.
for name in "$queue" "$queue-poison"; do
  az rest --method put --body '{}' -o none \
    --url "https://management.azure.com$account/queueServices/default/queues/$name?api-version=2023-05-01"
done

# identity NAME SERVICE_ACCOUNT_NAMESPACE SERVICE_ACCOUNT: an identity that pods of that service
# account take on.
identity() {
  az identity create -g "$RESOURCE_GROUP" -n "$1" -o none
  az identity federated-credential create -g "$RESOURCE_GROUP" --identity-name "$1" -n "$1" \
    --issuer "$issuer" --subject "system:serviceaccount:$2:$3" \
    --audiences api://AzureADTokenExchange -o none
}

# allow NAME ROLE QUEUE: lets an identity do that with one queue.
allow() {
  local principal
  principal=$(az identity show -g "$RESOURCE_GROUP" -n "$1" --query principalId -o tsv)
  az role assignment create --role "$2" --scope "$account/queueServices/default/queues/$3" \
    --assignee-object-id "$principal" --assignee-principal-type ServicePrincipal -o none
}

# A worker receives, updates, deletes, and moves to the poison queue. Storage Queue Data Message
# Processor would not do: it may not update, which is how a lease is renewed and a job put back.
identity job-worker "$namespace" job-worker
allow job-worker "Storage Queue Data Contributor" "$queue"
allow job-worker "Storage Queue Data Contributor" "$queue-poison"

# KEDA only looks.
identity job-scaler kube-system keda-operator
allow job-scaler "Storage Queue Data Reader" "$queue"

# An app that only enqueues, and whose identity you have, needs no more than this:
#   allow APP "Storage Queue Data Message Sender" "$queue"

client() { az identity show -g "$RESOURCE_GROUP" -n "$1" --query clientId -o tsv; }
echo "ACCOUNT           $ACCOUNT"
echo "WORKER_CLIENT_ID  $(client job-worker)"
echo "SCALER_CLIENT_ID  $(client job-scaler)"
