// What the model file says about how it is to be served.

#pragma once

struct common_params;

// To be called once the command line is read. Sets the context, the batch and the micro-batch that
// nobody gave (neither an option nor a variable) to what the model file needs for its whole context.
// A model without a name is called as its file is. False, and says why, where there is no model, it cannot
// be served, or its file's name says another task than JINA_TASK.
bool jina_prepare_model(common_params & params, int argc, char ** argv);
