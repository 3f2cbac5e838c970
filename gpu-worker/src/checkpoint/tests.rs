//! Checkpoints come back bit for bit, the newest first, and broken ones are refused.

use super::*;

fn checkpoint(steps: u64) -> Checkpoint {
    let tensor = |value: f32| HostTensor { shape: vec![1, 2], values: vec![value, f32::MIN_POSITIVE] };
    let name = TargetModule::Query.lora_a_name(0);
    let tensors = |value| BTreeMap::from([(name.clone(), tensor(value))]);
    let config = LoraConfig {
        rank: 1,
        frozen_rank: 0,
        alpha: 0.1,
        targets: vec![TargetModule::Query],
        dora: true,
        dropout: 0.0,
    };
    let best = Some(AdapterWeights { config: config.clone(), tensors: tensors(0.3) });
    Checkpoint {
        state: TrainingState {
            adapter: AdapterWeights { config, tensors: tensors(0.1) },
            first_moments: tensors(-0.0),
            second_moments: tensors(1e-38),
            steps,
        },
        best,
        progress: TrainingProgress {
            training: Digest::of(b"training"),
            epoch: 1,
            row: 2,
            seed: u64::MAX,
            steps: Vec::new(),
            validations: vec![ValidationRecord { step: 0, loss: 0.1 + 0.2 }],
            seconds: 1.5,
        },
    }
}

#[test]
fn a_checkpoint_comes_back_bit_for_bit() {
    let place = tempfile::tempdir().unwrap();
    let folder = place.path().join("checkpoint");
    checkpoint(7).write(&folder).unwrap();
    let read = Checkpoint::read(&folder).unwrap();
    assert_eq!(read, checkpoint(7));
    let bits = |checkpoint: &Checkpoint| -> Vec<u32> {
        checkpoint
            .state
            .first_moments
            .values()
            .flat_map(|tensor| &tensor.values)
            .map(|value| value.to_bits())
            .collect()
    };
    assert_eq!(bits(&read), bits(&checkpoint(7)));
}

#[test]
fn the_newest_two_are_kept() {
    let place = tempfile::tempdir().unwrap();
    let checkpoints = CheckpointFolder::new(place.path().join("checkpoints"));
    assert_eq!(checkpoints.newest().unwrap(), None);
    for steps in [2, 9, 10] {
        checkpoints.add(&checkpoint(steps)).unwrap();
    }
    assert_eq!(checkpoints.newest().unwrap().unwrap().state.steps, 10);
    assert_eq!(checkpoints.folders().unwrap().len(), 2);
}

#[test]
fn a_half_written_checkpoint_is_not_the_newest() {
    let place = tempfile::tempdir().unwrap();
    let checkpoints = CheckpointFolder::new(place.path().to_owned());
    checkpoints.add(&checkpoint(3)).unwrap();
    fs::create_dir(place.path().join(".unfinished-step-00000004")).unwrap();
    assert_eq!(checkpoints.newest().unwrap().unwrap().state.steps, 3);
}

#[test]
fn another_layout_and_cut_off_files_are_refused() {
    let place = tempfile::tempdir().unwrap();
    for (name, change) in [
        (
            STATE_FILE,
            (|text: Vec<u8>| {
                String::from_utf8(text).unwrap().replace("\"format\": 1", "\"format\": 2").into_bytes()
            }) as fn(Vec<u8>) -> Vec<u8>,
        ),
        (STATE_FILE, |text| text[..text.len() / 2].to_vec()),
        (TENSORS_FILE, |bytes| bytes[..bytes.len() - 1].to_vec()),
    ] {
        let folder = place.path().join("checkpoint");
        checkpoint(7).write(&folder).unwrap();
        let path = folder.join(name);
        fs::write(&path, change(fs::read(&path).unwrap())).unwrap();
        let refused = Checkpoint::read(&folder).unwrap_err();
        assert!(matches!(refused, CheckpointError::Format { .. }), "{refused}");
        fs::remove_dir_all(&folder).unwrap();
    }
}
