#include "model/chat_template.hpp"

#include "tests/unit/tokenizer_fixture.hpp"

namespace quench::model {
namespace {

using Ids = std::vector<std::int32_t>;
using nlohmann::json;

class ChatTemplateTest : public TokenizerFixture {
 protected:
  // A byte-level tokenizer with the markers as special tokens from id 300 on.
  static json with_tokens(const std::vector<std::string>& markers) {
    json tokenizer = byte_level();
    int id = 300;
    for (const std::string& marker : markers)
      tokenizer["added_tokens"].push_back(added(id++, marker, true));
    return tokenizer;
  }
  static json with_bos(json tokenizer, const std::string& token, int id) {
    tokenizer["post_processor"] = {
        {"type", "TemplateProcessing"},
        {"single", {{{"SpecialToken", {{"id", token}}}}, {{"Sequence", {{"id", "A"}}}}}},
        {"special_tokens", {{token, {{"ids", {id}}}}}}};
    return tokenizer;
  }
  std::optional<ChatTemplate> detect(const json& tokenizer, const json& config) const {
    write("tokenizer_config.json", config.dump());
    return ChatTemplate::detect(dir_, load(tokenizer));
  }

  const std::vector<std::string> gemma_ = {"<bos>", "<start_of_turn>", "<end_of_turn>"};
  const std::vector<std::string> llama_ = {"<|begin_of_text|>", "<|start_header_id|>",
                                           "<|end_header_id|>", "<|eot_id|>"};
  const std::vector<std::string> chatml_ = {"<|im_start|>", "<|im_end|>"};
};

TEST_F(ChatTemplateTest, NoTemplateIsABaseModel) {
  EXPECT_FALSE(ChatTemplate::detect(dir_, load(byte_level())).has_value());
  EXPECT_FALSE(
      detect(byte_level(), {{"bos_token", "<s>"}, {"chat_template", nullptr}}).has_value());
}

TEST_F(ChatTemplateTest, Gemma) {
  const json tokenizer = with_bos(with_tokens(gemma_), "<bos>", 300);
  const json config = {
      {"bos_token", {{"content", "<bos>"}}},
      {"chat_template", "{{ bos_token }}{{ '<start_of_turn>' + message['content'] | trim }}"}};
  const auto chat = detect(tokenizer, config);
  ASSERT_TRUE(chat.has_value());
  EXPECT_EQ(chat->family(), "gemma");
  EXPECT_EQ(chat->render_user_turn(" \n\x1C hi\u2003"),
            "<bos><start_of_turn>user\nhi<end_of_turn>\n<start_of_turn>model\n");
  EXPECT_EQ(chat->encode_user_turn(load(tokenizer), "hi"),
            (Ids{300, 301, 'u', 's', 'e', 'r', '\n', 'h', 'i', 302, '\n', 301, 'm', 'o', 'd', 'e',
                 'l', '\n'}));
}

TEST_F(ChatTemplateTest, BosIsAddedWhereOnlyTheTokenizerWantsIt) {
  const json tokenizer = with_bos(with_tokens(gemma_), "<bos>", 300);
  const auto chat =
      detect(tokenizer, {{"chat_template", "<start_of_turn> {{ message['content'] }}"}});
  EXPECT_EQ(chat->render_user_turn(" hi"),
            "<start_of_turn>user\n hi<end_of_turn>\n<start_of_turn>model\n");
  const Ids ids = chat->encode_user_turn(load(tokenizer), "hi");
  EXPECT_EQ(std::count(ids.begin(), ids.end(), 300), 1);
  EXPECT_EQ(ids.front(), 300);
}

TEST_F(ChatTemplateTest, Llama3) {
  const json tokenizer = with_bos(with_tokens(llama_), "<|begin_of_text|>", 300);
  json config = {
      {"bos_token", "<|begin_of_text|>"},
      {"chat_template", "{{ bos_token }}<|start_header_id|>{{ message['content'] | trim }}"}};
  const std::string turn =
      "<|start_header_id|>user<|end_header_id|>\n\nhi<|eot_id|>"
      "<|start_header_id|>assistant<|end_header_id|>\n\n";
  EXPECT_EQ(detect(tokenizer, config)->render_user_turn(" hi "), "<|begin_of_text|>" + turn);
  config["chat_template"] = config["chat_template"].get<std::string>() + "Cutting Knowledge Date: ";
  const auto dated = detect(tokenizer, config);
  EXPECT_EQ(dated->family(), "llama3");
  EXPECT_EQ(dated->render_user_turn("hi"),
            "<|begin_of_text|><|start_header_id|>system<|end_header_id|>\n\n"
            "Cutting Knowledge Date: December 2023\nToday Date: 26 Jul 2024\n\n<|eot_id|>" +
                turn);
  const Ids ids = dated->encode_user_turn(load(tokenizer), "hi");
  EXPECT_EQ(std::count(ids.begin(), ids.end(), 300), 1);
}

TEST_F(ChatTemplateTest, ChatmlKeepsSpacesAndBringsItsDefaultPrompt) {
  const json tokenizer = with_tokens(chatml_);
  const std::string turn = "<|im_start|>user\n hi <|im_end|>\n<|im_start|>assistant\n";
  json config = {{"bos_token", "<|im_start|>"},
                 {"chat_template", "{{ '<|im_start|>' + message['content'] + '<|im_end|>' }}"}};
  EXPECT_EQ(detect(tokenizer, config)->render_user_turn(" hi "), turn);
  // As a string literal of the template has it, with an escaped or a real newline.
  for (const std::string newline : {"\\n", "\n"}) {
    config["chat_template"] = "{{ '<|im_start|>system" + newline + "' + messages[0] }}" +
                              "{{ '<|im_start|>system" + newline + "You help.<|im_end|>" + newline +
                              "' }}";
    EXPECT_EQ(detect(tokenizer, config)->render_user_turn(" hi "),
              "<|im_start|>system\nYou help.<|im_end|>\n" + turn);
  }
}

TEST_F(ChatTemplateTest, SpecialTokensInUserTextAreTokens) {
  const json tokenizer = with_tokens(chatml_);
  const auto chat = detect(tokenizer, {{"chat_template", "<|im_start|>"}});
  const Ids ids = chat->encode_user_turn(load(tokenizer), "a<|im_end|>b");
  EXPECT_EQ(std::count(ids.begin(), ids.end(), 301), 2);
}

TEST_F(ChatTemplateTest, TemplateFilesAndNamedTemplates) {
  const json tokenizer =
      with_tokens({"<bos>", "<start_of_turn>", "<end_of_turn>", "<|im_start|>", "<|im_end|>"});
  const json named = {{{"name", "tool_use"}, {"template", "<|im_start|>"}},
                      {{"name", "default"}, {"template", "<start_of_turn>"}}};
  EXPECT_EQ(detect(tokenizer, {{"chat_template", named}})->family(), "gemma");
  write("chat_template.jinja", "{{ '<|im_start|>' }}");
  EXPECT_EQ(detect(tokenizer, {{"chat_template", named}})->family(), "chatml");
}

TEST_F(ChatTemplateTest, UnknownTemplatesAreErrors) {
  EXPECT_THROW(detect(byte_level(), {{"chat_template", "[INST] {{ x }} [/INST]"}}), DataError);
  EXPECT_THROW(detect(byte_level(), {{"chat_template", "<start_of_turn>"}}),
               DataError);  // no such token
  EXPECT_THROW(detect(byte_level(), {{"chat_template", 5}}), DataError);
  EXPECT_THROW(detect(byte_level(), {{"chat_template", json::array()}}), DataError);
}

}  // namespace
}  // namespace quench::model
