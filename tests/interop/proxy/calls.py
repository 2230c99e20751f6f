"""Recorded exchanges as calls of the official clients, and what a client makes of an answer, in a form that can be compared."""

import asyncio
import inspect
import warnings

import anthropic
import openai

KEY = "sk-of-the-caller"
# How a client may ask for an answer.
WAYS = ("objects", "raw", "wire", "async", "helper")


def resource(client, exchange):
    """The method of a client that makes the call that was recorded; `None` if there is none."""
    for path, method in [
        ("/chat/completions", lambda: client.chat.completions),
        ("/completions", lambda: client.completions),
        ("/responses", lambda: client.responses),
        ("/embeddings", lambda: client.embeddings),
        ("/messages", lambda: client.messages),
        ("/conversations", lambda: client.conversations),
    ]:
        if exchange.path.endswith(path):
            return method().create
    if exchange.path.endswith("/messages/count_tokens"):
        return client.messages.count_tokens
    if exchange.path.endswith("/responses/compact"):
        return client.responses.compact
    return None


def base_url(at, exchange):
    """The base URL under which a client calls the path that was recorded: all that is changed in it."""
    path = exchange.path
    for end in ("/chat/completions", "/responses/compact", "/completions", "/responses", "/embeddings", "/conversations"):
        if path.endswith(end):
            return at + path.removesuffix(end)
    return at + path[:path.index("/v1/messages")]


def is_anthropic(exchange):
    return "/messages" in exchange.path


class Clients:
    """The clients as published. Each is used for all calls, as programs do: only its base URL changes."""

    def __init__(self):
        self.loop = asyncio.new_event_loop()
        self.kinds = {
            (False, False): openai.OpenAI(api_key=KEY),
            (False, True): openai.AsyncOpenAI(api_key=KEY),
            (True, False): anthropic.Anthropic(api_key=KEY),
            (True, True): anthropic.AsyncAnthropic(api_key=KEY),
        }

    def client(self, at, exchange, is_async=False, **options):
        """A client whose calls go to `at`; without options it does not try again."""
        options = {"max_retries": 0, **options}
        return self.kinds[is_anthropic(exchange), is_async].with_options(base_url=base_url(at, exchange), **options)

    def call(self, at, exchange, way, **options):
        """Calls in one of the ways, and gives what came of it and the headers that came with it (`None` where the client
        does not show them)."""
        client = self.client(at, exchange, way == "async", **options)
        with warnings.catch_warnings():
            # Old names of models, and members that are newer than the client.
            warnings.simplefilter("ignore")
            try:
                if way == "async":
                    return self.loop.run_until_complete(objects_async(client, exchange))
                return {"objects": objects, "raw": raw, "wire": wire, "helper": helper}[way](client, exchange)
            except (openai.APIError, anthropic.APIError) as error:
                return failure(error)


def arguments(method, exchange):
    """What was asked, as arguments: what a client has no name for goes into `extra_body`."""
    asked = dict(exchange.request or {})
    known = inspect.signature(method).parameters
    if asked.get("encoding_format") == "base64":
        # What the client asks for by itself, and decodes.
        del asked["encoding_format"]
    named = {name: value for name, value in asked.items() if name in known}
    extra = {name: value for name, value in asked.items() if name not in known}
    return {**named, **({"extra_body": extra} if extra else {})}


def objects(client, exchange):
    method = resource(client, exchange)
    answer = method(**arguments(method, exchange))
    if exchange.is_stream:
        with answer:
            return ("events", [plain(event) for event in answer]), answer.response.headers
    return ("object", plain(answer)), None


async def objects_async(client, exchange):
    method = resource(client, exchange)
    answer = await method(**arguments(method, exchange))
    if exchange.is_stream:
        async with answer:
            return ("events", [plain(event) async for event in answer]), answer.response.headers
    return ("object", plain(answer)), None


def raw(client, exchange):
    """The body as the client decoded it, and the objects that it makes of it."""
    method = resource(client, exchange)
    raw = getattr(method.__self__.with_raw_response, method.__name__)
    response = raw(**arguments(method, exchange))
    parsed = response.parse()
    if exchange.is_stream:
        with parsed:
            return ("events", [plain(event) for event in parsed]), response.headers
    return ("body", response.http_response.content, plain(parsed)), response.headers


def wire(client, exchange):
    """The body as it came to the client, before it was decoded."""
    method = resource(client, exchange)
    streaming = getattr(method.__self__.with_streaming_response, method.__name__)
    with streaming(**arguments(method, exchange)) as response:
        return ("wire", b"".join(response.http_response.iter_raw())), response.headers


def broken(client, exchange):
    """The body as far as it comes, and how the client says that no more does."""
    method = resource(client, exchange)
    streaming = getattr(method.__self__.with_streaming_response, method.__name__)
    came = []
    with streaming(**arguments(method, exchange)) as response:
        try:
            came.extend(response.http_response.iter_raw())
        except Exception as error:  # pylint: disable=broad-exception-caught
            return ("broken", b"".join(came), type(error).__name__), response.headers
    return ("whole", b"".join(came)), response.headers


def failure(error):
    """An error as the client reports it."""
    response = getattr(error, "response", None)
    said = (type(error).__name__, getattr(error, "status_code", None), plain(error.body))
    if response is None:
        return ("error", *said), None
    # An error that an event reports: the body was read event by event, and is not kept.
    content = None if response.status_code < 400 else response.content
    return ("error", *said, content), response.headers


def has_helper(exchange):
    """Whether the client has a helper that puts streams together."""
    return exchange.is_stream and (is_anthropic(exchange) or exchange.path.endswith("/responses"))


def helper(client, exchange):
    """A stream through the client's helper: its events, and what is put together from them."""
    method = resource(client, exchange).__self__.stream
    asked = {name: value for name, value in arguments(method, exchange).items() if name != "stream"}
    asked["extra_body"] = {**asked.get("extra_body", {}), "stream": True}
    try:
        with method(**asked) as stream:
            events = [plain(event) for event in stream]
            final = stream.get_final_message() if is_anthropic(exchange) else stream.get_final_response()
            return ("helper", events, plain(final)), None
    except (AttributeError, KeyError, RuntimeError, TypeError) as error:
        # A client may be at a loss with a recording; then it is so without the proxy too.
        return ("lost", type(error).__name__, str(error)), None


def plain(value):
    """Objects of a client as plain values, with their types."""
    if hasattr(value, "model_dump"):
        return type(value).__name__, value.model_dump(mode="python", warnings=False)
    if isinstance(value, dict):
        return {name: plain(item) for name, item in value.items()}
    return [plain(item) for item in value] if isinstance(value, list) else value
