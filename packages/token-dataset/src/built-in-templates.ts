/** Prompt formats by name, for models without a chat template; Jinja as in tokenizer_config.json. */

const TURNS = '{{ bos_token }}{% for message in messages %}';

/**
 * Joins the leading system messages as `system`, for formats without a system turn; any later message must be of user
 * or assistant.
 */
const SYSTEM_FIRST =
  "{% set opening = namespace(system='', count=0) %}{% for message in messages %}" +
  "{% if message['role'] == 'system' and loop.index0 == opening.count %}" +
  "{% set opening.system = opening.system + ('\n\n' if opening.system else '') + message['content'] | trim %}" +
  "{% set opening.count = loop.index %}{% elif message['role'] not in ['user', 'assistant'] %}" +
  "{{ raise_exception('message ' ~ loop.index ~ ' has the role ' ~ message['role'] ~ ', expected system messages first, " +
  "then user and assistant') }}{% endif %}{% endfor %}" +
  '{% set system = opening.system %}{% set messages = messages[opening.count:] %}';

const LLAMA_3_TURN =
  "{{ '<|start_header_id|>' + message['role'] + '<|end_header_id|>\\n\\n' + message['content'] | trim }}";

/** Built-in chat templates by name. */
export const BUILT_IN_TEMPLATES: Readonly<Record<string, string>> = {
  chatml:
    TURNS +
    "{{ '<|im_start|>' + message['role'] + '\\n' + message['content'] | trim + '<|im_end|>\\n' }}{% endfor %}" +
    "{% if add_generation_prompt %}{{ '<|im_start|>assistant\\n' }}{% endif %}",
  'llama-3':
    `${TURNS + LLAMA_3_TURN}{{ '<|eot_id|>' }}{% endfor %}` +
    "{% if add_generation_prompt %}{{ '<|start_header_id|>assistant<|end_header_id|>\\n\\n' }}{% endif %}",
  // The prompt of the MEAP authors' code: a fixed system message, and EOS instead of an end of turn after answers.
  'meap-llama-3':
    "{{ bos_token }}{% if messages[0]['role'] != 'system' %}{{ '<|start_header_id|>system<|end_header_id|>\\n\\n" +
    "You are a helpful, excellent and smart assistant.<|eot_id|>' }}{% endif %}{% for message in messages %}" +
    `${LLAMA_3_TURN}{{ eos_token if message['role'] == 'assistant' else '<|eot_id|>' }}{% endfor %}` +
    "{% if add_generation_prompt %}{{ '<|start_header_id|>assistant<|end_header_id|>\\n\\n' }}{% endif %}",
  'llama-2':
    `${SYSTEM_FIRST}{% for message in messages %}{% if message['role'] == 'user' %}{{ bos_token + '[INST] ' }}` +
    "{% if loop.first and system %}{{ '<<SYS>>\\n' + system + '\\n<</SYS>>\\n\\n' }}{% endif %}" +
    "{{ message['content'] | trim + ' [/INST]' }}{% else %}{{ ' ' + message['content'] | trim + ' ' + eos_token }}" +
    '{% endif %}{% endfor %}',
  mistral:
    `${SYSTEM_FIRST}${TURNS}{% if message['role'] == 'user' %}{{ '[INST] ' }}` +
    "{% if loop.first and system %}{{ system + '\\n\\n' }}{% endif %}{{ message['content'] | trim + ' [/INST]' }}" +
    "{% else %}{{ ' ' + message['content'] | trim + eos_token }}{% endif %}{% endfor %}",
  alpaca:
    `${SYSTEM_FIRST}{{ bos_token }}{% if system %}{{ system + '\\n\\n' }}{% endif %}{% for message in messages %}` +
    "{% if message['role'] == 'user' %}{{ '### Instruction:\\n' + message['content'] | trim + '\\n\\n' }}" +
    "{% else %}{{ '### Response:\\n' + message['content'] | trim + eos_token + '\\n\\n' }}{% endif %}{% endfor %}" +
    "{% if add_generation_prompt %}{{ '### Response:\\n' }}{% endif %}",
};
