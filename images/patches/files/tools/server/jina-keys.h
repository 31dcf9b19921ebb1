// API keys from a file, whatever the age of llama-server. See 0012-api-key-file.patch.

#pragma once

struct common_params;

// Adds the keys in the file that LLAMA_ARG_API_KEY_FILE names, if it is set: one a line, without
// the blanks around it; empty lines and those that begin with # are left out. False, said on
// stderr, where the file cannot be read or has no key: the server would be open to everybody.
bool jina_read_api_keys(common_params & params);
