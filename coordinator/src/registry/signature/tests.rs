//! Signatures in both directions: what `model_signing` wrote counts here, and ours has its form. That the live program
//! accepts ours is checked by `make signing`.

use clara_lifecycle::{artifact::ArtifactFile, digest::Digest};

use super::*;

const KEY: &str = include_str!("../../../../tests/fixtures/signing/key.pem");
const PUBLIC: &str = include_str!("../../../../tests/fixtures/signing/key.pub");
const BY_MODEL_SIGNING: &str = include_str!("../../../../tests/fixtures/signing/model.sig");
const CONFIG: &[u8] =
    include_bytes!("../../../../tests/fixtures/signing/law-lora-v1.0.0/adapter_config.json");
const MODEL: &[u8] =
    include_bytes!("../../../../tests/fixtures/signing/law-lora-v1.0.0/adapter_model.safetensors");

fn files() -> ArtifactRef {
    let file = |path: &str, content: &[u8]| ArtifactFile {
        path: path.to_owned(),
        size_bytes: content.len() as u64,
        digest: Digest::of(content),
    };
    let files = vec![file("adapter_config.json", CONFIG), file("adapter_model.safetensors", MODEL)];
    ArtifactRef { prefix: "jobs/job-1/adapter".to_owned(), files }
}

fn signer() -> Signer {
    Signer::from_pem("the fixture", KEY).unwrap()
}

#[test]
fn what_model_signing_signed_is_verified_with_its_key() {
    let key = PublicKey::from_pem("the fixture", PUBLIC).unwrap();
    let bundle = serde_json::from_str(BY_MODEL_SIGNING).unwrap();
    assert_eq!(verify(&key, &bundle, &files()), Ok(()));
    assert_eq!(signer().public_key(), &key);
    assert_eq!(bundle["verificationMaterial"]["publicKey"]["hint"], key.id().to_string());
}

#[test]
fn our_bundle_has_the_form_that_model_signing_writes() {
    let ours = sign(&signer(), "law-lora-v1.0.0", &files()).unwrap();
    let theirs: Value = serde_json::from_str(BY_MODEL_SIGNING).unwrap();
    let statement = |bundle: &Value| -> Value {
        let payload = bundle["dsseEnvelope"]["payload"].as_str().unwrap();
        serde_json::from_slice(&BASE64.decode(payload).unwrap()).unwrap()
    };
    let (mut our_statement, mut their_statement) = (statement(&ours), statement(&theirs));
    for statement in [&mut our_statement, &mut their_statement] {
        // The order of the files that are passed over says nothing, and their program names this one as it was called.
        statement["predicate"]["serialization"]["ignore_paths"].take();
    }
    assert_eq!(our_statement, their_statement);
    for part in ["/mediaType", "/verificationMaterial", "/dsseEnvelope/payloadType"] {
        assert_eq!(ours.pointer(part), theirs.pointer(part), "{part}");
    }
    assert_eq!(verify(signer().public_key(), &ours, &files()), Ok(()));
}

#[test]
fn both_kinds_of_new_keys_sign_and_survive_their_pem() {
    for kind in [KeyKind::P256, KeyKind::Ed25519] {
        let pem = Signer::generate(kind).unwrap();
        let signer = Signer::from_pem("a new key", &pem).unwrap();
        let key = PublicKey::from_pem("its public half", &signer.public_key().pem()).unwrap();
        let bundle = sign(&signer, "law-lora-v1.0.0", &files()).unwrap();
        assert_eq!(verify(&key, &bundle, &files()), Ok(()), "{kind:?}");
        let other = Signer::from_pem("another", &Signer::generate(kind).unwrap()).unwrap();
        let refused = verify(other.public_key(), &bundle, &files()).unwrap_err();
        assert!(matches!(refused, SignatureError::OtherKey { .. }), "{refused}");
    }
}

#[test]
fn a_changed_statement_signature_or_file_is_refused_by_name() {
    let signed = sign(&signer(), "law-lora-v1.0.0", &files()).unwrap();
    let key = signer().public_key().clone();
    let mut statement = signed.clone();
    let payload = statement["dsseEnvelope"]["payload"].as_str().unwrap();
    let payload = String::from_utf8(BASE64.decode(payload).unwrap()).unwrap();
    let forged = payload.replace("law-lora-v1.0.0", "law-lora-v9.0.0");
    statement["dsseEnvelope"]["payload"] = BASE64.encode(forged).into();
    assert_eq!(verify(&key, &statement, &files()), Err(SignatureError::Forged));

    let mut hintless = statement.clone();
    hintless["verificationMaterial"]["publicKey"]["hint"] = Value::Null;
    assert_eq!(verify(&key, &hintless, &files()), Err(SignatureError::Forged));

    let mut changed = files();
    changed.files[1].digest = Digest::of(b"other tensors");
    let refused = verify(&key, &signed, &changed).unwrap_err();
    assert!(refused.to_string().contains("adapter_model.safetensors"), "{refused}");
    changed.files.pop();
    assert!(matches!(verify(&key, &signed, &changed), Err(SignatureError::OtherFiles(_))));
}

#[test]
fn what_is_no_bundle_and_what_is_no_key_is_told_as_such() {
    let refused = verify(signer().public_key(), &serde_json::json!({}), &files()).unwrap_err();
    assert!(matches!(refused, SignatureError::Form(_)), "{refused}");
    for text in ["", "-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n", PUBLIC] {
        let refused = Signer::from_pem("key.pem", text).unwrap_err().to_string();
        assert!(refused.contains("key.pem") && refused.contains("keygen"), "{refused}");
    }
}

/// Runs the program with its words after `model_signing`.
fn model_signing(program: &str, words: &[&str]) -> bool {
    std::process::Command::new(program).args(words).status().unwrap().success()
}

#[test]
#[ignore = "needs the program model_signing: make signing"]
fn the_live_model_signing_accepts_our_signature_and_we_accept_its() {
    let program = std::env::var("MODEL_SIGNING").unwrap();
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name).to_str().unwrap().to_owned();
    let model = path("law-lora-v1.0.0");
    std::fs::create_dir(&model).unwrap();
    for (name, content) in [("adapter_config.json", CONFIG), ("adapter_model.safetensors", MODEL)] {
        std::fs::write(path(&format!("law-lora-v1.0.0/{name}")), content).unwrap();
    }
    let pem = Signer::generate(KeyKind::P256).unwrap();
    let signer = Signer::from_pem("a new key", &pem).unwrap();
    std::fs::write(path("key.pem"), pem).unwrap();
    std::fs::write(path("key.pub"), signer.public_key().pem()).unwrap();
    let bundle = sign(&signer, "law-lora-v1.0.0", &files()).unwrap();
    std::fs::write(path("model.sig"), bundle.to_string()).unwrap();
    let (public, signature) = (path("key.pub"), path("model.sig"));
    let words = ["verify", "key", "--public_key", &public, "--signature", &signature, &model];
    assert!(model_signing(&program, &words), "our signature");
    std::fs::write(path("law-lora-v1.0.0/README.md"), "a card beside the files").unwrap();
    assert!(model_signing(&program, &words), "our signature, with a card beside the files");
    let tensors = path("law-lora-v1.0.0/adapter_model.safetensors");
    std::fs::write(&tensors, "other tensors").unwrap();
    assert!(!model_signing(&program, &words), "a changed file");
    std::fs::write(&tensors, MODEL).unwrap();
    std::fs::remove_file(path("law-lora-v1.0.0/README.md")).unwrap();

    let (private, theirs) = (path("key.pem"), path("theirs.sig"));
    assert!(model_signing(
        &program,
        &["sign", "key", "--private_key", &private, "--signature", &theirs, &model]
    ));
    let theirs = serde_json::from_str(&std::fs::read_to_string(theirs).unwrap()).unwrap();
    assert_eq!(verify(signer.public_key(), &theirs, &files()), Ok(()));
}
