//! Families of models by name: a judge prefers what its own family writes (arXiv 2404.13076).

#[cfg(test)]
mod tests;

/// A family with the parts of names that tell it.
const FAMILIES: [(&str, &[&str]); 16] = [
    ("SmolLM", &["smollm"]),
    ("Llama", &["llama", "vicuna", "alpaca"]),
    ("Qwen", &["qwen", "qwq"]),
    ("Mistral", &["mistral", "mixtral", "ministral", "magistral", "codestral", "zephyr"]),
    ("Gemma", &["gemma", "gemini"]),
    ("GPT", &["gpt", "o1-", "o3-", "o4-"]),
    ("Claude", &["claude"]),
    ("DeepSeek", &["deepseek"]),
    ("Phi", &["phi-", "phi3", "phi4"]),
    ("OLMo", &["olmo"]),
    ("Granite", &["granite"]),
    ("Command", &["command-r", "command-a", "c4ai", "aya-"]),
    ("Falcon", &["falcon"]),
    ("Teuken", &["teuken"]),
    ("Apertus", &["apertus"]),
    ("EuroLLM", &["eurollm"]),
];

/// The family that `judge` and `base_model` share, if any.
pub(crate) fn shared(judge: &str, base_model: &str) -> Option<&'static str> {
    let (judge, base_model) = (judge.to_lowercase(), base_model.to_lowercase());
    let is_in = |name: &str, parts: &[&str]| parts.iter().any(|part| name.contains(part));
    FAMILIES
        .into_iter()
        .find(|(_, parts)| is_in(&judge, parts) && is_in(&base_model, parts))
        .map(|(name, _)| name)
}
