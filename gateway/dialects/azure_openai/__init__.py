"""Azure OpenAI: OpenAI's API, with paths that name a deployment instead of a model."""

from msgspec import structs

from gateway.dialects import openai_chat
from gateway.dialects.azure_openai import deployments

ENDPOINT = structs.replace(
    openai_chat.ENDPOINT,
    name=deployments.NAME,
    provider=deployments.NAME,
    operations={},
    read_path=deployments.read_path,
    write_path=deployments.with_model,
    model_in_body=True,
    elsewhere=deployments.elsewhere,
    reserved=True,
    paths=None,
    resources=None,
    below_v1=False,
    header_prefixes=(),
    private_model=lambda _: True,  # a deployment has any name
    rate_limits=(),
    models_path=None,
    write_models=None,
)
