//! Holds the reference engine against transformers and PEFT on a tiny model of each family, for each method
//! (`tests/fixtures/families`, computed in f64).

use std::{collections::BTreeMap, path::PathBuf, sync::Arc};

use anyhow::{Context as _, Result, ensure};
use clara_gpu_worker::{
    engine::{
        AdapterWeights, Batch, Decoder as _, Engine as _, LoraConfig, StepOptions, TargetModule,
        reference::{ReferenceDecoder, ReferenceEngine},
    },
    model::{self, BaseModel, HostTensor},
};
use clara_lifecycle::spec::Method;
use safetensors::{Dtype, SafeTensors};

const FAMILIES: [&str; 6] = ["llama", "mistral", "qwen2", "qwen3", "gemma3", "gemma3-capped"];
const DOCUMENTS: [usize; 2] = [23, 12];
const TARGETS: usize = 28;
/// Of the largest value in a tensor, and of parameters after twenty steps; rounding in f32 alone makes some 1e-6.
const RELATIVE: f32 = 1e-5;

/// A method as the fixture has it: its name there, ours, the alpha of the scale alpha / rank, and LoRA+'s ratio.
const METHODS: [(&str, Method, f32, f64); 5] = [
    ("lora", Method::Lora, 8.0, 1.0),
    ("rslora", Method::Lora, 16.0, 1.0),
    ("dora", Method::Dora, 8.0, 1.0),
    ("loraplus", Method::Lora, 8.0, 4.0),
    ("qlora", Method::Qlora, 8.0, 1.0),
];

#[test]
fn every_family_has_the_logits_of_transformers_with_and_without_an_adapter() -> Result<()> {
    for family in FAMILIES {
        let oracle = Oracle::read(family)?;
        for (name, method, alpha, _) in METHODS {
            let mut decoder = ReferenceDecoder::new(base(family, method)?)?;
            decoder.add_adapter(name, &oracle.adapter(name, method, alpha)?)?;
            let mut position = 0;
            for rows in DOCUMENTS {
                let (bare, adapted) = (decoder.open(None)?, decoder.open(Some(name))?);
                for token in &oracle.tokens[position..position + rows] {
                    let logits = decoder.extend(&[(bare, &[*token]), (adapted, &[*token])])?;
                    let at = position * 320..(position + 1) * 320;
                    if method != Method::Qlora {
                        let expected = &oracle.get("logits")?.values[at.clone()];
                        close(&logits[0], expected, &format!("{family}: logits at {position}"))?;
                    }
                    let expected = &oracle.get(&format!("{name}.logits"))?.values[at];
                    close(&logits[1], expected, &format!("{family} {name}: logits at {position}"))?;
                    position += 1;
                }
            }
        }
    }
    Ok(())
}

#[test]
fn every_method_has_the_loss_and_the_gradients_of_peft_in_every_family() -> Result<()> {
    for family in FAMILIES {
        let oracle = Oracle::read(family)?;
        for (name, method, alpha, _) in METHODS {
            let mut engine = engine(family, &oracle, (name, method, alpha))?;
            let loss = engine.forward_backward(&oracle.batch(), TARGETS)?;
            ensure!(loss.target_tokens == TARGETS);
            let expected = oracle.get(&format!("{name}.losses"))?.values[0];
            close_loss(loss.loss_sum, expected, &format!("{family} {name}: loss"))?;
            let gradients = engine.gradients()?;
            let expected = oracle.group(&format!("{name}.grad."));
            ensure!(gradients.keys().eq(expected.keys()), "{family} {name}: {:?}", gradients.keys());
            for (tensor, expected) in &expected {
                let largest = expected.values.iter().fold(0.0_f32, |most, value| most.max(value.abs()));
                ensure!(largest > 0.0, "{family} {name}: the gradient of {tensor} is zero");
                close(&gradients[tensor].values, &expected.values, &format!("{family} {name}: {tensor}"))?;
            }
        }
    }
    Ok(())
}

#[test]
fn twenty_steps_end_in_the_adapter_of_peft() -> Result<()> {
    for family in FAMILIES {
        let oracle = Oracle::read(family)?;
        for (name, method, alpha, b_rate_ratio) in METHODS {
            let mut engine = engine(family, &oracle, (name, method, alpha))?;
            let options = StepOptions {
                learning_rate: 1e-3,
                weight_decay: 0.01,
                b_rate_ratio,
                ..StepOptions::default()
            };
            for (step, expected) in oracle.get(&format!("{name}.losses"))?.values.iter().enumerate() {
                let loss = engine.forward_backward(&oracle.batch(), TARGETS)?;
                close_loss(loss.loss_sum, *expected, &format!("{family} {name}: loss of step {step}"))?;
                engine.step(&options)?;
            }
            let got = engine.save()?.adapter.tensors;
            for (tensor, expected) in oracle.group(&format!("{name}.final.")) {
                let difference = largest_difference(&got[&tensor].values, &expected.values);
                ensure!(difference <= RELATIVE, "{family} {name}: {tensor} differs by {difference}");
            }
        }
    }
    Ok(())
}

#[test]
fn principal_adapters_begin_and_learn_as_those_of_peft() -> Result<()> {
    let (oracle, base) = (Oracle::read("llama-pissa")?, base("llama", Method::Lora)?);
    let config = LoraConfig {
        rank: 8,
        frozen_rank: 4,
        alpha: 16.0,
        targets: TargetModule::ALL.to_vec(),
        dora: false,
        dropout: 0.0,
    };
    let mut engine = ReferenceEngine::new(base)?;
    engine.init_adapter(&config, 1)?;
    let begun = engine.save()?.adapter;
    for (weight, expected) in oracle.group("begun.") {
        close_to(&product(&begun, &weight, 0..4)?, &expected.values, 1e-3, &format!("{weight} at first"))?;
    }
    let options = StepOptions { learning_rate: 1e-3, weight_decay: 0.01, ..StepOptions::default() };
    for (step, expected) in oracle.get("losses")?.values.iter().enumerate() {
        let loss = engine.forward_backward(&oracle.batch(), TARGETS)?;
        let (got, expected) = (loss.loss_sum / f64::from(u16::try_from(TARGETS)?), f64::from(*expected));
        ensure!((got - expected).abs() < 1e-3, "loss of step {step}: {got}, expected {expected}");
        engine.step(&options)?;
    }
    let trained = engine.save()?.adapter;
    for (weight, expected) in oracle.group("delta.") {
        close_to(&product(&trained, &weight, 0..8)?, &expected.values, 2e-2, &format!("{weight} at last"))?;
    }
    Ok(())
}

/// `s·B·A` over some directions of the adapter of a weight.
fn product(adapter: &AdapterWeights, weight: &str, directions: std::ops::Range<usize>) -> Result<Vec<f32>> {
    let tensor = |factor: &str| {
        let name = format!("base_model.model.{}.{factor}.weight", weight.trim_end_matches(".weight"));
        adapter.tensors.get(&name).with_context(|| format!("no {name}"))
    };
    let (a, b) = (tensor("lora_A")?, tensor("lora_B")?);
    let (rank, columns) = (adapter.config.rank, a.values.len() / adapter.config.rank);
    let scale = adapter.config.alpha / f32::from(u16::try_from(rank)?);
    let mut product = Vec::new();
    for row in b.values.chunks(rank) {
        for column in 0..columns {
            let along = a.values.iter().skip(column).step_by(columns);
            let terms = row.iter().zip(along).map(|(b, a)| b * a);
            product.push(scale * terms.skip(directions.start).take(directions.len()).sum::<f32>());
        }
    }
    Ok(product)
}

struct Oracle {
    tensors: BTreeMap<String, HostTensor>,
    tokens: Vec<u32>,
    labels: Vec<i64>,
}

impl Oracle {
    fn read(family: &str) -> Result<Self> {
        let bytes = std::fs::read(fixture(&format!("{family}.safetensors")))?;
        let file = SafeTensors::deserialize(&bytes)?;
        let (mut tensors, mut whole) = (BTreeMap::new(), BTreeMap::new());
        for (name, view) in file.iter() {
            let (shape, data) = (view.shape().to_vec(), view.data());
            if view.dtype() == Dtype::I64 {
                let numbers: Vec<i64> =
                    data.as_chunks().0.iter().map(|bytes| i64::from_le_bytes(*bytes)).collect();
                whole.insert(name.to_owned(), numbers);
            } else {
                let values = data.as_chunks().0.iter().map(|bytes| f32::from_le_bytes(*bytes)).collect();
                tensors.insert(name.to_owned(), HostTensor { shape, values });
            }
        }
        let labels = whole.remove("labels").context("no labels")?;
        let tokens = whole.remove("tokens").context("no tokens")?;
        let tokens = tokens.into_iter().map(u32::try_from).collect::<Result<_, _>>()?;
        Ok(Self { tensors, tokens, labels })
    }

    fn get(&self, name: &str) -> Result<&HostTensor> {
        self.tensors.get(name).with_context(|| format!("the fixture has no {name}"))
    }

    /// Tensors whose names begin with `prefix`, without it.
    fn group(&self, prefix: &str) -> BTreeMap<String, HostTensor> {
        let named = |(name, tensor): (&String, &HostTensor)| {
            Some((name.strip_prefix(prefix)?.to_owned(), tensor.clone()))
        };
        self.tensors.iter().filter_map(named).collect()
    }

    fn adapter(&self, name: &str, method: Method, alpha: f32) -> Result<AdapterWeights> {
        let tensors = self.group(&format!("{name}.init."));
        ensure!(!tensors.is_empty(), "the fixture has no adapter for {name}");
        let dora = method == Method::Dora;
        Ok(AdapterWeights {
            config: LoraConfig {
                rank: 4,
                frozen_rank: 0,
                alpha,
                targets: TargetModule::ALL.to_vec(),
                dora,
                dropout: 0.0,
            },
            tensors,
        })
    }

    fn batch(&self) -> Batch {
        let (first, all) = (DOCUMENTS[0], self.tokens.len());
        Batch {
            tokens: self.tokens.clone(),
            labels: self.labels.clone(),
            documents: vec![0..first, first..all],
        }
    }
}

fn fixture(name: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../tests/fixtures/families").join(name)
}

fn base(family: &str, method: Method) -> Result<Arc<BaseModel>> {
    Ok(Arc::new(model::load(&fixture(family), method.into())?.base))
}

fn engine(
    family: &str,
    oracle: &Oracle,
    (name, method, alpha): (&str, Method, f32),
) -> Result<ReferenceEngine> {
    let mut engine = ReferenceEngine::new(base(family, method)?)?;
    engine.load_adapter(&oracle.adapter(name, method, alpha)?)?;
    Ok(engine)
}

fn close(got: &[f32], expected: &[f32], what: &str) -> Result<()> {
    close_to(got, expected, RELATIVE, what)
}

fn close_to(got: &[f32], expected: &[f32], relative: f32, what: &str) -> Result<()> {
    ensure!(got.len() == expected.len(), "{what}: {} values, expected {}", got.len(), expected.len());
    let largest = expected.iter().fold(0.0_f32, |most, value| most.max(value.abs()));
    let difference = largest_difference(got, expected);
    ensure!(
        difference <= relative * largest,
        "{what}: differs by {difference}, its largest value is {largest}"
    );
    Ok(())
}

fn largest_difference(got: &[f32], expected: &[f32]) -> f32 {
    got.iter().zip(expected).fold(0.0, |most, (a, b)| most.max((a - b).abs()))
}

fn close_loss(sum: f64, expected: f32, what: &str) -> Result<()> {
    let (got, expected) = (sum / f64::from(u32::try_from(TARGETS)?), f64::from(expected));
    ensure!((got - expected).abs() <= f64::from(RELATIVE) * expected, "{what}: {got}, expected {expected}");
    Ok(())
}
