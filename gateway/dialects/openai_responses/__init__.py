"""OpenAI's Responses API."""

from gateway.dialects.endpoint import Endpoint, server_sent
from gateway.dialects.openai_responses.read_items import NAME
from gateway.dialects.openai_responses.read_response import RESPONSES
from gateway.dialects.openai_responses.write_response import RESPONSES_WRITER, write_error
from gateway.dialects.shared.model_list import write_models

ENDPOINT = Endpoint(
    name=NAME,
    dialect=NAME,
    writer=RESPONSES_WRITER,
    provider="openai",
    operations={("responses",): RESPONSES},
    below_v1=True,
    base_path="/v1",
    error=write_error,
    error_event=server_sent(write_error),
    models_path="/models",
    write_models=write_models,
    stores_conversations=True,
)
