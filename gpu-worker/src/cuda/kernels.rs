//! The sources of the CUDA kernels, each made whole by what all share.

/// One file of kernels.
#[derive(Debug, Clone, Copy)]
pub struct Source {
    /// Its path below `src/ops`, for messages.
    pub name: &'static str,
    /// Its text, without what all share.
    pub text: &'static str,
}

const COMMON: Source = Source { name: "common.cuh", text: include_str!("../ops/common.cuh") };

/// Every file of kernels.
pub const SOURCES: &[Source] = &[
    Source { name: "attention/attention.cu", text: include_str!("../ops/attention/attention.cu") },
    Source {
        name: "attention/attention_backward.cu",
        text: include_str!("../ops/attention/attention_backward.cu"),
    },
];

impl Source {
    /// The text to compile; messages of the compiler name the file and the line in it.
    #[must_use]
    pub fn program(&self) -> String {
        let mut program = String::with_capacity(COMMON.text.len() + self.text.len() + 64);
        for part in [&COMMON, self] {
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
