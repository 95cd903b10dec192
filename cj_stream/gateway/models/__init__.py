"""Judges that are language models: any endpoint that speaks OpenAI's chat completions or Anthropic's messages.

The official SDKs come with the extra ``judges`` and are imported when the first question is asked, in the process that
asks it: a worker never imports them.
"""
