"""Python's clients of Ollama: httpx, ollama, openai and anthropic. The argument is the server's URL."""

import asyncio
import hashlib
import json
import sys
import tempfile
from contextlib import aclosing

import anthropic
import httpx
import ollama
import openai

URL = sys.argv[1]
MODEL = "llama3.2"
CHAT = {"model": MODEL, "messages": [{"role": "user", "content": "Hello"}]}
LARGE = {"model": MODEL, "messages": [{"role": "user", "content": "x" * 100_000}]}
UNKNOWN = {**CHAT, "model": "none"}
PARAMETERS = {"type": "object", "properties": {"tz": {"type": "string"}}, "required": ["tz"]}
FUNCTION = {"type": "function", "function": {"name": "get_time", "parameters": PARAMETERS}}
SECONDS = 1


def fake(behaviour):
    """Headers that choose what the fake Ollama does."""
    return {"X-Fake-Ollama": behaviour}


def say(case, **values):
    print(json.dumps({"case": case, **values}), flush=True)


async def wait(case, event):
    """Reports an event, and waits for a line on standard input."""
    say(case, event=event)
    await asyncio.to_thread(sys.stdin.readline)


async def joined(case, texts):
    """Joins the texts of a stream, and says when the first has come."""
    text = ""
    async for part in texts:
        if part and not text:
            say(case, event="first")
        text += part
    return text


async def left(case, texts):
    """Leaves a stream at its first text."""
    async with aclosing(texts):
        async for text in texts:
            if text:
                break
    await wait(case, "cancelled")
    return text


async def cancelled(case, request):
    """Cancels a request before its response."""
    task = asyncio.create_task(request)
    await wait(case, "sent")
    task.cancel()
    (outcome,) = await asyncio.gather(task, return_exceptions=True)
    await wait(case, "cancelled")
    return type(outcome).__name__


async def error_of(request):
    try:
        await request
    except Exception as error:
        return f"{type(error).__name__} {getattr(error, 'status_code', '')}".strip()


async def timeout(case, request):
    error = await error_of(request)
    await wait(case, "cancelled")
    return error


# httpx


async def httpx_lines(behaviour):
    async with httpx.AsyncClient(base_url=URL) as client:
        async with client.stream("POST", "/api/chat", json=CHAT, headers=fake(behaviour)) as response:
            async for line in response.aiter_lines():
                yield json.loads(line)["message"]["content"]


async def httpx_post(behaviour, body, **options):
    async with httpx.AsyncClient(base_url=URL, **options) as client:
        return await client.post("/api/chat", json=body, headers=fake(behaviour))


async def httpx_upload(_):
    async def parts():
        for _ in range(100):
            yield b"x" * 10_000

    digest = hashlib.sha256(b"x" * 1_000_000).hexdigest()
    async with httpx.AsyncClient(base_url=URL) as client:
        return (await client.post(f"/api/blobs/sha256:{digest}", content=parts())).status_code


# ollama


async def ollama_texts(behaviour):
    stream = await ollama.AsyncClient(URL, headers=fake(behaviour)).chat(**CHAT, stream=True)
    async with aclosing(stream):
        async for part in stream:
            yield part.message.content


async def ollama_chat(_):
    return ollama.Client(URL).chat(**CHAT).message.content


async def ollama_tools(_):
    response = ollama.Client(URL, headers=fake("tools")).chat(**CHAT, tools=[FUNCTION])
    return [dict(call.function) for call in response.message.tool_calls]


async def ollama_embed(_):
    return len(ollama.Client(URL).embed("nomic-embed-text", ["a", "b"]).embeddings)


async def ollama_models(_):
    client = ollama.Client(URL)
    names = [model.model for model in client.list().models]
    return [names, client.show(MODEL).details.family, [model.model for model in client.ps().models]]


async def ollama_pull(_):
    return [part.status for part in ollama.Client(URL).pull("qwen3", stream=True)][-1]


async def ollama_blob(_):
    with tempfile.NamedTemporaryFile() as file:
        file.write(b"GGUF" * 500_000)
        file.flush()
        return ollama.Client(URL).create_blob(file.name)[:12]


# openai


def openai_client(behaviour, **options):
    headers = fake(behaviour)
    return openai.AsyncOpenAI(base_url=f"{URL}/v1", api_key="ollama", max_retries=0, default_headers=headers, **options)


async def openai_texts(behaviour):
    async with openai_client(behaviour) as client:
        async with await client.chat.completions.create(**CHAT, stream=True) as stream:
            async for chunk in stream:
                yield chunk.choices[0].delta.content or ""


async def openai_chat(_):
    completion = await openai_client("").chat.completions.create(**CHAT)
    return [completion.choices[0].message.content, completion.usage.completion_tokens]


async def openai_tools(_):
    completion = await openai_client("tools").chat.completions.create(**CHAT, tools=[FUNCTION])
    return [call.function.name for call in completion.choices[0].message.tool_calls]


async def openai_embeddings(_):
    return len((await openai_client("").embeddings.create(model="nomic-embed-text", input=["a", "b"])).data)


async def openai_responses(_):
    return (await openai_client("").responses.create(model=MODEL, input="Hello")).output_text


# anthropic


def anthropic_client(behaviour, **options):
    headers = fake(behaviour)
    return anthropic.AsyncAnthropic(base_url=URL, api_key="ollama", max_retries=0, default_headers=headers, **options)


async def anthropic_texts(behaviour):
    async with anthropic_client(behaviour) as client:
        async with client.messages.stream(**CHAT, max_tokens=100) as stream:
            async for text in stream.text_stream:
                yield text


async def anthropic_message(_):
    message = await anthropic_client("").messages.create(**CHAT, max_tokens=100)
    return [message.content[0].text, message.usage.output_tokens]


async def anthropic_tools(_):
    tool = {"name": "get_time", "input_schema": PARAMETERS}
    message = await anthropic_client("tools").messages.create(**CHAT, max_tokens=100, tools=[tool])
    return [[block.name, block.input] for block in message.content if block.type == "tool_use"]


def openai_create(behaviour, body, **options):
    return openai_client(behaviour, **options).chat.completions.create(**body)


def anthropic_create(behaviour, body, **options):
    return anthropic_client(behaviour, **options).messages.create(**body, max_tokens=100)


def ollama_create(behaviour, body, **options):
    return ollama.AsyncClient(URL, headers=fake(behaviour), **options).chat(**body)


CASES = {
    "httpx: chat, streamed": lambda case: joined(case, httpx_lines("hold")),
    "httpx: upload without length": httpx_upload,
    "httpx: cancelled before the response": lambda case: cancelled(case, httpx_post("hang", LARGE)),
    "httpx: left in the stream": lambda case: left(case, httpx_lines("hold")),
    "httpx: timeout": lambda case: timeout(case, httpx_post("timeout", LARGE, timeout=SECONDS)),
    "ollama: chat": ollama_chat,
    "ollama: chat, streamed": lambda case: joined(case, ollama_texts("hold")),
    "ollama: tools": ollama_tools,
    "ollama: embed": ollama_embed,
    "ollama: list, show and ps": ollama_models,
    "ollama: pull, streamed": ollama_pull,
    "ollama: create_blob": ollama_blob,
    "ollama: unknown model": lambda _: error_of(ollama_create("", UNKNOWN)),
    "ollama: cancelled before the response": lambda case: cancelled(case, ollama_create("hang", LARGE)),
    "ollama: left in the stream": lambda case: left(case, ollama_texts("hold")),
    "ollama: timeout": lambda case: timeout(case, ollama_create("timeout", LARGE, timeout=SECONDS)),
    "openai: chat": openai_chat,
    "openai: chat, streamed": lambda case: joined(case, openai_texts("hold")),
    "openai: tools": openai_tools,
    "openai: embeddings": openai_embeddings,
    "openai: responses": openai_responses,
    "openai: unknown model": lambda _: error_of(openai_create("", UNKNOWN)),
    "openai: cancelled before the response": lambda case: cancelled(case, openai_create("hang", LARGE)),
    "openai: left in the stream": lambda case: left(case, openai_texts("hold")),
    "openai: timeout": lambda case: timeout(case, openai_create("timeout", LARGE, timeout=SECONDS)),
    "anthropic: message": anthropic_message,
    "anthropic: message, streamed": lambda case: joined(case, anthropic_texts("hold")),
    "anthropic: tools": anthropic_tools,
    "anthropic: unknown model": lambda _: error_of(anthropic_create("", UNKNOWN)),
    "anthropic: cancelled before the response": lambda case: cancelled(case, anthropic_create("hang", LARGE)),
    "anthropic: left in the stream": lambda case: left(case, anthropic_texts("hold")),
    "anthropic: timeout": lambda case: timeout(case, anthropic_create("timeout", LARGE, timeout=SECONDS)),
}


async def main():
    for case, run in CASES.items():
        say(case, result=await run(case))


asyncio.run(main())
