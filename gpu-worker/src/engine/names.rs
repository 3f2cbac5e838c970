//! Names of modules and tensors, as Hugging Face and PEFT write them.

use super::TargetModule;

impl TargetModule {
    /// Every module that can carry an adapter, in the order of a forward pass.
    pub const ALL: [Self; 7] =
        [Self::Query, Self::Key, Self::Value, Self::Output, Self::Gate, Self::Up, Self::Down];

    /// The module's own name, as in PEFT's `target_modules`.
    pub fn name(self) -> &'static str {
        match self {
            Self::Query => "q_proj",
            Self::Key => "k_proj",
            Self::Value => "v_proj",
            Self::Output => "o_proj",
            Self::Gate => "gate_proj",
            Self::Up => "up_proj",
            Self::Down => "down_proj",
        }
    }

    /// The module of that name, if it is one of ours.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|module| module.name() == name)
    }

    /// Path inside a decoder block, e.g. `self_attn.q_proj`.
    pub fn path(self) -> &'static str {
        match self {
            Self::Query => "self_attn.q_proj",
            Self::Key => "self_attn.k_proj",
            Self::Value => "self_attn.v_proj",
            Self::Output => "self_attn.o_proj",
            Self::Gate => "mlp.gate_proj",
            Self::Up => "mlp.up_proj",
            Self::Down => "mlp.down_proj",
        }
    }

    /// Hugging Face name of the frozen weight `[out, in]` in a layer.
    pub fn weight_name(self, layer: usize) -> String {
        format!("model.layers.{layer}.{}.weight", self.path())
    }

    /// PEFT name of the factor `A` `[rank, in]` in a layer.
    pub fn lora_a_name(self, layer: usize) -> String {
        format!("base_model.model.model.layers.{layer}.{}.lora_A.weight", self.path())
    }

    /// PEFT name of the magnitude `[out]` in a layer.
    pub fn magnitude_name(self, layer: usize) -> String {
        format!("base_model.model.model.layers.{layer}.{}.lora_magnitude_vector", self.path())
    }

    /// PEFT name of the factor `B` `[out, rank]` in a layer.
    pub fn lora_b_name(self, layer: usize) -> String {
        format!("base_model.model.model.layers.{layer}.{}.lora_B.weight", self.path())
    }
}
