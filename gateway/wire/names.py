"""The names that the wire itself gives to fields: what an object key may say without being judged.

Any other key is text that somebody wrote, and reaches the model like any other text.
"""

from typing import Final

_CHAT: Final = """
model messages role content name refusal audio tool_calls tool_call_id function_call function custom arguments input
id type text image_url url detail input_audio data format file file_data file_id filename stream stream_options
include_usage include_obfuscation n temperature top_p top_k min_p frequency_penalty presence_penalty
repetition_penalty max_tokens max_completion_tokens logprobs top_logprobs stop seed user logit_bias metadata store
response_format json_schema schema strict tools tool_choice functions parallel_tool_calls parameters description grammar
definition syntax modalities voice prediction reasoning_effort reasoning_content reasoning verbosity service_tier
web_search_options search_context_size user_location approximate city country region timezone prompt_cache_key
safety_identifier encoding_format dimensions cache_control extra_body guided_json chat_template_kwargs
"""
_JSON_SCHEMA: Final = """
$schema $id $ref $defs $comment $anchor definitions title default examples enum const properties patternProperties
additionalProperties propertyNames required items prefixItems contains minItems maxItems uniqueItems minLength
maxLength pattern minimum maximum exclusiveMinimum exclusiveMaximum multipleOf minProperties maxProperties anyOf oneOf
allOf not if then else dependentRequired dependentSchemas contentMediaType contentEncoding readOnly writeOnly
deprecated nullable discriminator
"""
WIRE_NAMES: Final = frozenset(_CHAT.split()) | frozenset(_JSON_SCHEMA.split())
