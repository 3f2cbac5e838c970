//! The sources of the CUDA kernels, each made whole by what all share.

/// One file of kernels.
#[derive(Debug, Clone, Copy)]
pub struct Source {
    /// Its path below `src`, for messages.
    pub name: &'static str,
    /// Its text, without what all share.
    pub text: &'static str,
}

macro_rules! source {
    ($name:literal) => {
        Source { name: $name, text: include_str!(concat!("../", $name)) }
    };
}

/// What stands before every file, in this order.
const SHARED: [Source; 3] =
    [source!("ops/common.cuh"), source!("ops/tiles.cuh"), source!("ops/warpgroups.cuh")];

/// Every file of kernels.
pub const SOURCES: &[Source] = &[
    source!("nf4/dequantise.cu"),
    source!("ops/attention/attention.cu"),
    source!("ops/attention/attention_backward.cu"),
    source!("ops/attention/attention_backward_hopper.cu"),
    source!("ops/attention/attention_backward_keys.cu"),
    source!("ops/attention/attention_cached.cu"),
    source!("ops/attention/attention_hopper.cu"),
    source!("ops/embedding/embedding.cu"),
    source!("ops/gated/gated.cu"),
    source!("ops/head_loss/cross_entropy.cu"),
    source!("ops/head_loss/log_probabilities.cu"),
    source!("ops/lora_linear/dropout.cu"),
    source!("ops/lora_linear/low_rank.cu"),
    source!("ops/lora_linear/low_rank_forward.cu"),
    source!("ops/lora_linear/magnitude.cu"),
    source!("ops/lora_linear/scatter_adapter.cu"),
    source!("ops/rms_norm/rms_norm.cu"),
    source!("ops/rope/rope.cu"),
    source!("ops/rows.cu"),
    source!("optim/adamw.cu"),
    source!("optim/hold.cu"),
];

impl Source {
    /// The text to compile; messages of the compiler name the file and the line in it.
    #[must_use]
    pub fn program(&self) -> String {
        let mut program = String::new();
        for part in SHARED.iter().chain([self]) {
            program.push_str("#line 1 \"");
            program.push_str(part.name);
            program.push_str("\"\n");
            program.push_str(part.text);
            program.push('\n');
        }
        program
    }
}

#[cfg(test)]
mod tests;
