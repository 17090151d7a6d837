"""Does the schema of MindIE's config.json take what its makers ship, and refuse what their page excludes?"""

from __future__ import annotations

import copy
import json
from typing import Any

import jsonschema_rs
import pytest
from support import ROOT

SCHEMA = json.loads((ROOT / "images/mindie/config.schema.json").read_text(encoding="utf-8"))
SHIPPED: dict[str, Any] = {  # the settings of the default file of the sources that the schema names
    "Version": "1.0.0",
    "ServerConfig": {
        "ipAddress": "127.0.0.1", "managementIpAddress": "127.0.0.2", "port": 1025, "managementPort": 1026,
        "metricsPort": 1027, "allowAllZeroIpListening": False, "maxLinkNum": 1000, "httpsEnabled": True,
        "fullTextEnabled": False, "tlsCaFile": ["ca.pem"], "inferMode": "standard", "interCommTLSEnabled": True,
        "interCommPort": 1121, "openAiSupport": "vllm", "tokenTimeout": 600, "e2eTimeout": 600,
        "distDPServerEnabled": False,
    },
    "BackendConfig": {
        "backendName": "mindieservice_llm_engine", "modelInstanceNumber": 1, "npuDeviceIds": [[0, 1, 2, 3]],
        "tokenizerProcessNumber": 8, "multiNodesInferEnabled": False, "multiNodesInferPort": 1120,
        "interNodeTLSEnabled": True, "kvPoolConfig": {"backend": "", "configPath": ""},
        "ModelDeployConfig": {
            "maxSeqLen": 2560, "maxInputTokenLen": 2048, "truncation": False,
            "ModelConfig": [{
                "modelInstanceType": "Standard", "modelName": "llama_65b", "modelWeightPath": "/data/weights",
                "worldSize": 4, "cpuMemSize": 0, "npuMemSize": -1, "backendType": "atb", "trustRemoteCode": False,
            }],
        },
        "ScheduleConfig": {
            "templateType": "Standard", "templateName": "Standard_LLM", "cacheBlockSize": 128,
            "maxPrefillBatchSize": 50, "maxPrefillTokens": 8192, "prefillTimeMsPerReq": 150, "prefillPolicyType": 0,
            "decodeTimeMsPerReq": 50, "decodePolicyType": 0, "maxBatchSize": 200, "maxIterTimes": 512,
            "maxPreemptCount": 0, "supportSelectBatch": False, "maxQueueDelayMicroseconds": 5000,
            "maxFirstTokenWaitTime": 2500,
        },
    },
    "LogConfig": {"dynamicLogLevel": "", "dynamicLogLevelValidHours": 2, "dynamicLogLevelValidTime": ""},
}  # fmt: skip


def test_what_is_shipped_is_taken() -> None:
    assert jsonschema_rs.is_valid(SCHEMA, SHIPPED)


@pytest.mark.parametrize(
    ("at", "value"),
    [
        (("ServerConfig", "port"), 80),
        (("ServerConfig", "maxLinkNum"), 4097),
        (("ServerConfig", "inferMode"), "mixed"),
        (("ServerConfig", "httpEnabled"), False),
        (("BackendConfig", "npuDeviceIds"), [0, 1]),
        (("BackendConfig", "npuDeviceIds"), [[0, 0]]),
        (("BackendConfig", "ModelDeployConfig", "maxSeqLen"), 0),
        (("BackendConfig", "ModelDeployConfig", "ModelConfig", 0, "npuMemSize"), 0),
        (("BackendConfig", "ModelDeployConfig", "ModelConfig", 0, "modelName"), "-x"),
        (("BackendConfig", "ModelDeployConfig", "ModelConfig", 0, "tp"), 3),
        (("BackendConfig", "ScheduleConfig", "cacheBlockSize"), 100),
        (("BackendConfig", "ScheduleConfig", "maxQueueDelayMicroseconds"), 1),
        (("Version",), "2.0"),
    ],
)
def test_what_the_page_excludes_is_refused(at: tuple[Any, ...], value: object) -> None:
    changed = copy.deepcopy(SHIPPED)
    inner = changed
    for key in at[:-1]:
        inner = inner[key]
    inner[at[-1]] = value
    assert not jsonschema_rs.is_valid(SCHEMA, changed)
