"""The Model Context Protocol (MCP): exact arithmetic as tools of language models, over HTTP and stdio (ADR 35).

The official SDK is the extra ``mcp``. Only ``tools``, ``results`` and ``server`` import it.
"""
