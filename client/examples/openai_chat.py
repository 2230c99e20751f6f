"""Chat completions with the published OpenAI client. All that is changed is the base URL.

    OPENAI_API_KEY=… python3 openai_chat.py
"""

import openai

import receipt

client = openai.OpenAI(base_url=f"{receipt.PROXY}/v1")
credential = client.auth_headers
question = {"model": "gpt-5-mini", "messages": [{"role": "user", "content": "What is a counterfoil?"}]}

# An answer in one piece. The client shows the headers of an answer if it is asked for the raw one.
raw = client.chat.completions.with_raw_response.create(**question)
text = raw.parse().choices[0].message.content
print(text)
receipt.verify(raw.headers, credential, text)

# A stream.
stream = client.chat.completions.create(**question, stream=True)
text = "".join(chunk.choices[0].delta.content or "" for chunk in stream if chunk.choices)
print(text)
receipt.verify(stream.response.headers, credential, text)
