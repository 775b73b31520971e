"""Configuration: one TOML file, checked completely, as immutable data.

>>> config = load("/etc/dnssecd/config.toml")      # raises ConfigErrors with all faults
>>> config.policy_of("example.com.").denial
'nsec3'
"""

from dnssecd.config.algorithms import algorithm_name, algorithm_number
from dnssecd.config.errors import ConfigError, ConfigErrors
from dnssecd.config.freeze import FreezeWindow
from dnssecd.config.load import control_socket_of, load, parse
from dnssecd.config.model import (
    Acl,
    Address,
    AlertsConfig,
    BackupConfig,
    Config,
    Grant,
    Keystore,
    KeyTemplate,
    LogConfig,
    MailConfig,
    MetricsConfig,
    OfflineKeystore,
    ParentConfig,
    Peer,
    Pkcs11Keystore,
    Pkcs11Token,
    Policy,
    Secret,
    ServerConfig,
    SignerConfig,
    SoftwareKeystore,
    TsigKey,
    WebhookConfig,
    ZoneConfig,
)
from dnssecd.control_place import DEFAULT_CONTROL_SOCKET, DEFAULT_PATH

__all__ = [
    "DEFAULT_CONTROL_SOCKET",
    "DEFAULT_PATH",
    "Acl",
    "Address",
    "AlertsConfig",
    "BackupConfig",
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
    "OfflineKeystore",
    "ParentConfig",
    "Peer",
    "Pkcs11Keystore",
    "Pkcs11Token",
    "Policy",
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
