"""Configuration: one TOML file, checked as a whole, as immutable data.

>>> config = load("/etc/dnssecd/config.toml")      # raises ConfigErrors with every fault at once
>>> config.policy_of("example.com.").denial
'nsec3'
"""

from dnssecd.config.algorithms import algorithm_name, algorithm_number
from dnssecd.config.errors import ConfigError, ConfigErrors
from dnssecd.config.freeze import FreezeWindow
from dnssecd.config.load import DEFAULT_CONTROL_SOCKET, DEFAULT_PATH, control_socket_of, load, parse
from dnssecd.config.model import (
    Acl,
    Address,
    AlertsConfig,
    Config,
    Grant,
    Keystore,
    KeyTemplate,
    LogConfig,
    MailConfig,
    MetricsConfig,
    ParentConfig,
    Peer,
    Pkcs11Keystore,
    Pkcs11Token,
    Policy,
    Refresh,
    Secret,
    ServerConfig,
    SignerConfig,
    SoftwareKeystore,
    TsigKey,
    WebhookConfig,
    ZoneConfig,
)

__all__ = [
    "DEFAULT_CONTROL_SOCKET",
    "DEFAULT_PATH",
    "Acl",
    "Address",
    "AlertsConfig",
    "Config",
    "ConfigError",
    "ConfigErrors",
    "FreezeWindow",
    "Grant",
    "KeyTemplate",
    "Keystore",
    "LogConfig",
    "MailConfig",
    "MetricsConfig",
    "ParentConfig",
    "Peer",
    "Pkcs11Keystore",
    "Pkcs11Token",
    "Policy",
    "Refresh",
    "Secret",
    "ServerConfig",
    "SignerConfig",
    "SoftwareKeystore",
    "TsigKey",
    "WebhookConfig",
    "ZoneConfig",
    "algorithm_name",
    "algorithm_number",
    "control_socket_of",
    "load",
    "parse",
]
