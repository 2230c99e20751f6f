"""Messages with the published Anthropic client. All that is changed is the base URL.

    ANTHROPIC_API_KEY=… python3 anthropic_messages.py
"""

import anthropic

import receipt

client = anthropic.Anthropic(base_url=receipt.PROXY)
credential = client.auth_headers
question = {"model": "claude-sonnet-5", "max_tokens": 300, "messages": [{"role": "user", "content": "What is a counterfoil?"}]}


def text_of(message):
    return "".join(block.text for block in message.content if block.type == "text")


# An answer in one piece. The client shows the headers of an answer if it is asked for the raw one.
raw = client.messages.with_raw_response.create(**question)
text = text_of(raw.parse())
print(text)
receipt.verify(raw.headers, credential, text)

# A stream.
with client.messages.stream(**question) as stream:
    text = text_of(stream.get_final_message())
print(text)
receipt.verify(stream.response.headers, credential, text)
