/** Prompt formats by name, for models that come without a chat template; Jinja as in tokenizer_config.json. */

const TURNS = '{{ bos_token }}{% for message in messages %}';

/** Puts a system message in front of the first question, for formats that have no place of its own for one. */
const SYSTEM_FIRST =
  "{% if messages[0]['role'] == 'system' %}{% set system = messages[0]['content'] | trim %}" +
  '{% set messages = messages[1:] %}{% endif %}';

const LLAMA_3_TURN =
  "{{ '<|start_header_id|>' + message['role'] + '<|end_header_id|>\\n\\n' + message['content'] | trim }}";

/** Chat templates by the name that people choose them by. */
export const BUILT_IN_TEMPLATES: Readonly<Record<string, string>> = {
  chatml:
    TURNS +
    "{{ '<|im_start|>' + message['role'] + '\\n' + message['content'] | trim + '<|im_end|>\\n' }}{% endfor %}" +
    "{% if add_generation_prompt %}{{ '<|im_start|>assistant\\n' }}{% endif %}",
  'llama-3':
    `${TURNS + LLAMA_3_TURN}{{ '<|eot_id|>' }}{% endfor %}` +
    "{% if add_generation_prompt %}{{ '<|start_header_id|>assistant<|end_header_id|>\\n\\n' }}{% endif %}",
  // The prompt of the MEAP authors' code: a fixed system message, and EOS instead of an end of turn behind answers.
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
