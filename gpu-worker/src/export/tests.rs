//! Exports of tiny adapters of every architecture: they give the adapter's logits, and what cannot be is refused.

use std::{collections::BTreeMap, fs};

use clara_lifecycle::spec::Method;

use super::*;
use crate::{
    engine::TargetModule,
    gguf::{interleave, uninterleave},
    model::HostTensor,
};

fn fixture(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/fixtures").join(name)
}

/// The adapter that the fixture has for a method, with those of its targets that are wanted.
fn adapter(family: &str, method: &str, targets: &[TargetModule]) -> AdapterWeights {
    let bytes = fs::read(fixture(&format!("families/{family}.safetensors"))).unwrap();
    let file = safetensors::SafeTensors::deserialize(&bytes).unwrap();
    let mut tensors = BTreeMap::new();
    for (name, view) in file.iter() {
        let Some(name) = name.strip_prefix(&format!("{method}.init.")) else { continue };
        if targets.iter().any(|module| name.contains(module.path())) {
            let values = view.data().as_chunks().0.iter().map(|bytes| f32::from_le_bytes(*bytes)).collect();
            tensors.insert(name.to_owned(), HostTensor { shape: view.shape().to_vec(), values });
        }
    }
    let config = LoraConfig {
        rank: 4,
        frozen_rank: 0,
        alpha: 8.0,
        targets: targets.to_vec(),
        dora: method == "dora",
        dropout: 0.0,
    };
    AdapterWeights { config, tensors }
}

/// A request for an export of that adapter on `base`, beside which nothing lies.
fn request(
    place: &tempfile::TempDir,
    base: PathBuf,
    adapter: &AdapterWeights,
    format: ExportFormat,
) -> ExportRequest {
    let folder = place.path().join("adapter");
    if !folder.exists() {
        peft::write(&folder, adapter, "tiny").unwrap();
    }
    ExportRequest {
        base_model: base,
        precision: Precision::Full,
        base_model_digest: None,
        adapter: folder,
        format,
        out: place.path().join("out"),
        replace: false,
        texts: vec!["Das Amt entscheidet.".to_owned()],
    }
}

fn family_request(
    place: &tempfile::TempDir,
    family: &str,
    method: &str,
    format: ExportFormat,
) -> ExportRequest {
    let adapter = adapter(family, method, &TargetModule::ALL);
    request(place, fixture(&format!("families/{family}")), &adapter, format)
}

/// Exports and checks that only rounding in f32 separates the logits, though the adapter moves them far.
fn exact(request: &ExportRequest) -> ExportReport {
    let report = export(request).unwrap();
    let found = report.verification.unwrap();
    assert!(found.max_logit_difference < 2e-5 * found.largest_logit.max(1.0), "{request:?}: {found:?}");
    assert!(found.adapter_effect > 100.0 * found.mean_logit_difference, "{request:?}: {found:?}");
    assert!(found.sequences == 7 && found.positions > 200, "{found:?}");
    report
}

#[test]
fn a_merged_model_of_every_architecture_gives_the_logits_of_the_adapter() {
    for family in ["llama", "mistral", "qwen2", "qwen3", "gemma3", "gemma3-capped"] {
        for (name, method) in [("lora", Method::Lora), ("dora", Method::Dora), ("qlora", Method::Qlora)] {
            let place = tempfile::tempdir().unwrap();
            let request = family_request(&place, family, name, ExportFormat::Merged(WeightType::F32));
            let report = exact(&ExportRequest { precision: method.into(), ..request.clone() });
            assert_eq!(report.rounding_error, Some(0.0));
            let written: serde_json::Value =
                serde_json::from_slice(&fs::read(request.out.join("config.json")).unwrap()).unwrap();
            assert_eq!(written["dtype"], "float32");
        }
    }
}

#[test]
fn a_model_merged_from_a_gguf_file_is_a_whole_hugging_face_folder() {
    for (file, method) in
        [("families/qwen2.gguf", "lora"), ("families/qwen3.gguf", "dora"), ("families/gemma3.gguf", "lora")]
    {
        let place = tempfile::tempdir().unwrap();
        let family = Path::new(file).file_stem().unwrap().to_str().unwrap();
        let adapter = adapter(family, method, &TargetModule::ALL);
        let format = ExportFormat::Merged(WeightType::F32);
        let request = request(&place, fixture(file), &adapter, format);
        let report = exact(&request);
        let names: Vec<&str> = report.files.iter().map(|file| file.name.as_str()).collect();
        for name in ["config.json", "generation_config.json", "model.safetensors", "tokenizer.json"] {
            assert!(names.contains(&name), "{file}: {names:?}");
        }
    }
}

#[test]
fn sixteen_bits_cost_little_and_say_how_much() {
    for (weights, most) in [(WeightType::Bf16, 3e-3), (WeightType::F16, 4e-4)] {
        let place = tempfile::tempdir().unwrap();
        let report = export(&family_request(&place, "llama", "lora", ExportFormat::Merged(weights))).unwrap();
        let lost = report.rounding_error.unwrap();
        assert!(lost > most / 10.0 && lost < most, "{weights}: {lost}");
        assert!(report.verification.unwrap().max_logit_difference > 0.0);
        let found = model::inspect(&place.path().join("out")).unwrap();
        assert_eq!(found.gguf_architecture, "llama");
    }
}

#[test]
fn a_model_in_several_files_is_read_back_whole() {
    let place = tempfile::tempdir().unwrap();
    let source = fixture("families/qwen2");
    let base = model::load(&source, Precision::Full).unwrap().base;
    for file in ["config.json", "tokenizer.json", "tokenizer_config.json"] {
        fs::copy(source.join(file), place.path().join(file)).unwrap();
    }
    let tensors = model::tensor_shapes(&base.config);
    let values = |name: &str| Ok(base.tensors[name].values.clone());
    weight_file::write_model(place.path(), tensors, WeightType::F32, 20_000, values).unwrap();
    assert!(fs::read_dir(place.path()).unwrap().count() > 5);
    assert_eq!(model::load(place.path(), Precision::Full).unwrap().base.tensors, base.tensors);
}

#[test]
fn a_gguf_adapter_reads_back_as_the_same_adapter() {
    for family in ["llama", "mistral", "qwen2", "qwen3", "gemma3"] {
        let place = tempfile::tempdir().unwrap();
        let adapter = adapter(family, "lora", &TargetModule::ALL);
        let base = fixture(&format!("families/{family}"));
        let request = request(&place, base.clone(), &adapter, ExportFormat::GgufLora(WeightType::F32));
        exact(&request);
        let info = model::inspect(&base).unwrap();
        let layout = gguf_lora::Layout { architecture: info.gguf_architecture, base: &info.config };
        let read = layout.read(&request.out.join(GGUF_FILE), &TargetModule::ALL).unwrap();
        assert_eq!(read, adapter, "{family}");
    }
}

#[test]
fn rows_of_a_head_are_interleaved_as_llama_cpp_permutes_them() {
    // numpy: w.reshape(heads, 2, half, columns).swapaxes(1, 2), here with two heads of four rows and two columns.
    let rows: Vec<f32> = (0_u8..16).map(f32::from).collect();
    let expected = [0, 1, 4, 5, 2, 3, 6, 7, 8, 9, 12, 13, 10, 11, 14, 15].map(|value: u8| f32::from(value));
    assert_eq!(interleave(&rows, 2, 2), expected);
    assert_eq!(uninterleave(&expected, 2, 2), rows);
}

#[test]
fn a_plain_adapter_meets_a_dora_the_better_the_higher_its_rank() {
    let targets = [TargetModule::Key, TargetModule::Value];
    let dora = adapter("qwen2", "dora", &targets);
    let mut errors = Vec::new();
    for rank in [1, 4, 8, 16] {
        let place = tempfile::tempdir().unwrap();
        let base = fixture("families/qwen2");
        let report = export(&request(&place, base, &dora, ExportFormat::PlainLora(Some(rank)))).unwrap();
        assert_eq!((report.rank, report.layers.len()), (Some(rank), 4));
        errors
            .push((report.approximation_error.unwrap(), report.verification.unwrap().mean_logit_difference));
    }
    assert!(errors.is_sorted_by(|one, other| one.0 > other.0 && one.1 > other.1), "{errors:?}");
    // Keys and values are 16 wide: rank 16 leaves nothing out.
    assert!(errors[0].0 > 0.1 && errors[3].0 < 1e-5, "{errors:?}");
}

#[test]
fn a_plain_adapter_takes_its_rank_from_the_adapter_where_none_is_asked_for() {
    for (method, expected) in [("lora", 4), ("dora", 8)] {
        let place = tempfile::tempdir().unwrap();
        let request = family_request(&place, "qwen3", method, ExportFormat::PlainLora(None));
        assert_eq!(export(&request).unwrap().rank, Some(expected));
    }
}

#[test]
fn a_lora_of_its_own_rank_stays_as_it_is() {
    let place = tempfile::tempdir().unwrap();
    let request = family_request(&place, "llama", "lora", ExportFormat::PlainLora(Some(4)));
    assert_eq!(exact(&request).approximation_error, Some(0.0));
    let file = peft::WEIGHTS_FILE;
    assert_eq!(fs::read(request.out.join(file)).unwrap(), fs::read(request.adapter.join(file)).unwrap());
}

/// Exports, expects a refusal with `part` in it, and that nothing but the adapter lies in the place.
fn refused(place: &tempfile::TempDir, request: &ExportRequest, part: &str) {
    let error = export(request).unwrap_err();
    let text = clara_runtime::daemon::with_causes(&error);
    assert!(text.contains(part), "{text}");
    assert_eq!(fs::read_dir(place.path()).unwrap().count(), 1, "{text}");
}

#[test]
fn what_cannot_be_exported_is_refused_by_name() {
    let place = tempfile::tempdir().unwrap();
    let dora = family_request(&place, "llama", "dora", ExportFormat::GgufLora(WeightType::F32));
    refused(&place, &dora, "first make it plain with `--to plain-lora --rank 8`");
    for (rank, part) in [(0, "at least rank 1"), (33, "rank 33 is larger than layer")] {
        let format = ExportFormat::PlainLora(Some(rank));
        refused(&place, &ExportRequest { format, ..dora.clone() }, part);
    }
    let merged = ExportRequest { format: ExportFormat::Merged(WeightType::F32), ..dora };
    let other = ExportRequest { base_model: fixture("tiny-llama"), ..merged.clone() };
    refused(&place, &other, "does not fit the base model");
    let digest = model::load(&merged.base_model, Precision::Nf4).unwrap().base.digest;
    let other = ExportRequest { base_model_digest: Some(digest), ..merged };
    refused(&place, &other, "is not the base model that the adapter was trained on");

    let place = tempfile::tempdir().unwrap();
    let lora = family_request(&place, "llama", "lora", ExportFormat::PlainLora(Some(5)));
    refused(&place, &lora, "the adapter's own rank is 4");
}

#[test]
fn the_report_of_a_training_beside_the_adapter_tells_its_base_model() {
    let place = tempfile::tempdir().unwrap();
    let request = family_request(&place, "llama", "qlora", ExportFormat::Merged(WeightType::F32));
    let digest = model::load(&request.base_model, Precision::Nf4).unwrap().base.digest;
    let report = serde_json::json!({"training_digest": "of all", "base_model_digest": digest});
    fs::write(place.path().join("training.json"), report.to_string()).unwrap();
    let refused = export(&request).unwrap_err().to_string();
    assert!(refused.contains("held as full, is not the base model") && refused.contains("nf4"), "{refused}");
    exact(&ExportRequest { precision: Precision::Nf4, ..request });
}

#[test]
fn weights_beyond_sixteen_bits_are_refused() {
    let place = tempfile::tempdir().unwrap();
    let mut adapter = adapter("llama", "lora", &[TargetModule::Value]);
    let tensor = adapter.tensors.values_mut().next().unwrap();
    tensor.values[0] = 70_000.0;
    let format = ExportFormat::GgufLora(WeightType::F16);
    refused(
        &place,
        &request(&place, fixture("families/llama"), &adapter, format),
        "holds 70000, which f16 cannot",
    );
}

#[test]
fn only_an_earlier_export_is_replaced() {
    let place = tempfile::tempdir().unwrap();
    let request = family_request(&place, "llama", "lora", ExportFormat::GgufLora(WeightType::F32));
    export(&request).unwrap();
    assert!(export(&request).unwrap_err().to_string().contains("exists already"));
    let replacing = ExportRequest { replace: true, format: ExportFormat::PlainLora(None), ..request };
    export(&replacing).unwrap();
    assert!(!replacing.out.join(GGUF_FILE).exists() && replacing.out.join(peft::WEIGHTS_FILE).exists());
    // The adapter's own folder is no export.
    let over_the_adapter = ExportRequest { out: replacing.adapter.clone(), ..replacing };
    assert!(export(&over_the_adapter).unwrap_err().to_string().contains("has no export.json"));
    assert_eq!(fs::read_dir(place.path()).unwrap().count(), 2);
}

#[test]
fn a_folder_that_holds_another_adapter_does_not_pass() {
    let place = tempfile::tempdir().unwrap();
    let loaded = model::load(&fixture("families/llama"), Precision::Full).unwrap();
    let samples = Samples::of_texts(&loaded.tokenizer, &[], 128).unwrap();
    let (base, meant) = (Arc::new(loaded.base), adapter("llama", "lora", &TargetModule::ALL));
    let folder = place.path().join("adapter");
    peft::write(&folder, &meant, "llama").unwrap();
    let record = verify_peft(&folder, &base, &meant, &samples).unwrap();
    assert!(record.verification.max_logit_difference <= 0.0);
    let mut other = meant.clone();
    other.tensors.values_mut().next().unwrap().values[3] += 1.0;
    let error = verify_peft(&folder, &base, &other, &samples).unwrap_err();
    assert!(matches!(error, ExportError::Differs { format: "peft", .. }), "{error}");
}
