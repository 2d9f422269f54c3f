"""The one way to Temporal, for gateway and workers alike.

Address, namespace, TLS and API key come from Temporal's own standard environment
variables (TEMPORAL_ADDRESS, TEMPORAL_NAMESPACE, TEMPORAL_API_KEY, TEMPORAL_TLS_*) and
profile file, the same that the `temporal` command reads.
"""

from temporalio.client import Client
from temporalio.envconfig import ClientConfig

DEFAULT_ADDRESS = "127.0.0.1:7233"


async def connect(*, lazy: bool = False) -> Client:
    """A client for the configured Temporal.

    A lazy one connects at its first call, so a gateway starts, and takes jobs, while
    Temporal is down. Workers need one that is connected.

    Raises RuntimeError when the connection fails (never for a lazy one).
    """
    config = ClientConfig.load_client_connect_config()
    config.setdefault("target_host", DEFAULT_ADDRESS)
    return await Client.connect(**config, lazy=lazy)


def workflows_url(ui_url: str | None, client: Client) -> str | None:
    """Where Temporal's web UI shows workflows by id; None where its address is not known."""
    return f"{ui_url.rstrip('/')}/namespaces/{client.namespace}/workflows" if ui_url else None
