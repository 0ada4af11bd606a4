"""Drives Google's own Python client, unchanged, against an emulator. Usage: python-client.py ROOT_URL SITE DAY

Prints one JSON object. The discovery document is cut down to what is called here; its shape is Google's.
"""

import json
import sys

import google.oauth2.credentials
from googleapiclient.discovery import build_from_document
from googleapiclient.errors import HttpError
from googleapiclient.http import BatchHttpRequest

root_url, site, day = sys.argv[1:4]

SITE_PARAMETER = {"siteUrl": {"type": "string", "location": "path", "required": True}}
DISCOVERY = {
    "kind": "discovery#restDescription",
    "name": "searchconsole",
    "version": "v1",
    "rootUrl": root_url,
    "servicePath": "",
    "baseUrl": root_url,
    "batchPath": "batch",
    "auth": {"oauth2": {"scopes": {"https://www.googleapis.com/auth/webmasters.readonly": {"description": ""}}}},
    "parameters": {
        "alt": {"type": "string", "location": "query", "default": "json"},
        "prettyPrint": {"type": "boolean", "location": "query", "default": "true"},
    },
    "schemas": {
        "Request": {"id": "Request", "type": "object", "properties": {}},
        "Answer": {"id": "Answer", "type": "object", "properties": {}},
    },
    "resources": {
        "sites": {
            "methods": {
                "list": {
                    "id": "webmasters.sites.list",
                    "path": "webmasters/v3/sites",
                    "httpMethod": "GET",
                    "parameters": {},
                    "response": {"$ref": "Answer"},
                },
                "get": {
                    "id": "webmasters.sites.get",
                    "path": "webmasters/v3/sites/{siteUrl}",
                    "httpMethod": "GET",
                    "parameters": SITE_PARAMETER,
                    "parameterOrder": ["siteUrl"],
                    "response": {"$ref": "Answer"},
                },
            }
        },
        "searchanalytics": {
            "methods": {
                "query": {
                    "id": "webmasters.searchanalytics.query",
                    "path": "webmasters/v3/sites/{siteUrl}/searchAnalytics/query",
                    "httpMethod": "POST",
                    "parameters": SITE_PARAMETER,
                    "parameterOrder": ["siteUrl"],
                    "request": {"$ref": "Request"},
                    "response": {"$ref": "Answer"},
                }
            }
        },
    },
}

# A refresh token alone: the client has to fetch its access token from the emulator first.
credentials = google.oauth2.credentials.Credentials(
    None, refresh_token="r", token_uri=root_url + "token", client_id="c", client_secret="s"
)
service = build_from_document(DISCOVERY, credentials=credentials)


def body(**more):
    return {"startDate": day, "endDate": day, "dimensions": ["query"], "rowLimit": 10, **more}


def ask(**more):
    return service.searchanalytics().query(siteUrl=site, body=body(**more))


found = {"sites": service.sites().list().execute(), "site": service.sites().get(siteUrl=site).execute()}
found["alone"] = ask().execute()
try:
    ask(rowLimit=0).execute()
except HttpError as error:
    found["refused"] = [error.resp.status, error._get_reason()]


def send(batch_uri):
    answers = {}

    def took(request_id, response, exception):
        # The client leaves the line's CR on the reason phrase.
        answers[request_id] = response if exception is None else [exception.resp.status, exception.resp.reason.strip()]

    batch = BatchHttpRequest(callback=took, batch_uri=batch_uri)
    batch.add(ask(), request_id="first one")
    batch.add(ask(dimensions=["page"], startRow=5), request_id="größe + 2")
    batch.add(ask(rowLimit=0), request_id="wrong")
    batch.execute()
    return answers


found["batch"] = send(root_url + "batch")
found["oldBatch"] = send(root_url + "batch/webmasters/v3")
print(json.dumps(found))
