//! Tests of families of models.

use super::shared;

#[test]
fn models_of_one_family_are_told_by_their_names() {
    let pairs = [
        ("Qwen2.5-72B-Instruct", "qwen3-8b-q4.gguf", Some("Qwen")),
        ("meta-llama/Llama-3.3-70B-Instruct", "tinyllama", Some("Llama")),
        ("deepseek-r1-distill-llama-70b", "Llama-3.1-8B", Some("Llama")),
        ("SmolLM2-135M-Instruct", "SmolLM2-135M-Instruct", Some("SmolLM")),
        ("gpt-4o", "Qwen2.5-0.5B", None),
        ("judge-model", "base", None),
        ("judge-model", "judge-model", None),
    ];
    for (judge, base, expected) in pairs {
        assert_eq!(shared(judge, base), expected, "{judge} {base}");
    }
}
