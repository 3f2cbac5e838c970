//! Signed manifests of adapters: an in-toto statement in a DSSE envelope, as the program `model_signing` writes and reads it.
//!
//! The statement names every file of an adapter with its SHA-256; the bundle around it is a sigstore bundle whose key is
//! named by a digest. With a key over the curve P-256, `model_signing verify key` accepts what is signed here. Ed25519 is
//! signed and verified here in the same form; `model_signing` 1.1 knows no such keys.

mod keys;
mod statement;

use base64::{Engine as _, engine::general_purpose::STANDARD as BASE64};
use clara_lifecycle::artifact::ArtifactRef;
use serde::{Deserialize, Serialize};
use serde_json::Value;

pub use keys::{KeyKind, PublicKey, Signer};
use statement::Statement;

const BUNDLE: &str = "application/vnd.dev.sigstore.bundle.v0.3+json";
const PAYLOAD: &str = "application/vnd.in-toto+json";

/// Why something cannot be signed, or a signature does not count.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SignatureError {
    /// The key cannot be used.
    #[error("{what} cannot be used as a key: {reason}; make one with `clara registry keygen`")]
    Key {
        /// Where the key is.
        what: String,
        /// What is wrong with it.
        reason: String,
    },
    /// The system gave no random numbers, or the library refused to sign.
    #[error("nothing could be signed: {0}")]
    Signing(String),
    /// The bundle has another form.
    #[error("the signature is no sigstore bundle with an in-toto statement of model_signing 1.0: {0}")]
    Form(String),
    /// The bundle was made with another key.
    #[error("the signature was made with key {found}, not with key {expected}")]
    OtherKey {
        /// The key named in the bundle.
        found: String,
        /// The key it was verified with.
        expected: String,
    },
    /// The signature does not belong to the statement.
    #[error("the signature does not belong to its statement: either was changed after signing")]
    Forged,
    /// The statement is about other files.
    #[error("the signed statement is about other files: {0}")]
    OtherFiles(String),
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Bundle {
    media_type: String,
    verification_material: Material,
    dsse_envelope: Envelope,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Material {
    public_key: KeyHint,
    #[serde(default)]
    tlog_entries: Vec<Value>,
}

#[derive(Debug, Serialize, Deserialize)]
struct KeyHint {
    #[serde(default)]
    hint: Option<String>,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Envelope {
    payload: String,
    payload_type: String,
    signatures: Vec<EnvelopeSignature>,
}

#[derive(Debug, Serialize, Deserialize)]
struct EnvelopeSignature {
    sig: String,
    #[serde(default)]
    keyid: Option<String>,
}

/// Signs the files of `adapter_id` and answers the bundle.
///
/// # Errors
/// [`SignatureError::Signing`].
pub fn sign(signer: &Signer, adapter_id: &str, files: &ArtifactRef) -> Result<Value, SignatureError> {
    let unwritable = |error: serde_json::Error| SignatureError::Signing(error.to_string());
    let payload = serde_json::to_vec_pretty(&Statement::of(adapter_id, files)).map_err(unwritable)?;
    let signature = signer.sign(&encoded(PAYLOAD, &payload))?;
    let signature = EnvelopeSignature { sig: BASE64.encode(signature), keyid: Some(String::new()) };
    let bundle = Bundle {
        media_type: BUNDLE.to_owned(),
        verification_material: Material {
            public_key: KeyHint { hint: Some(signer.public_key().id().to_string()) },
            tlog_entries: Vec::new(),
        },
        dsse_envelope: Envelope {
            payload: BASE64.encode(payload),
            payload_type: PAYLOAD.to_owned(),
            signatures: vec![signature],
        },
    };
    serde_json::to_value(bundle).map_err(unwritable)
}

/// Whether `bundle` was signed with `key` and is about exactly these files.
///
/// # Errors
/// [`SignatureError`] says what does not hold.
pub fn verify(key: &PublicKey, bundle: &Value, files: &ArtifactRef) -> Result<(), SignatureError> {
    let Opened { hint, payload, signature } = Opened::of(bundle)?;
    let expected = key.id().to_string();
    if let Some(found) = hint.filter(|found| *found != expected) {
        return Err(SignatureError::OtherKey { found, expected });
    }
    key.verify(&encoded(PAYLOAD, &payload), &signature)?;
    statement_of(&payload)?.check(files)
}

/// Whether `bundle` is about exactly these files; whoever signed it.
///
/// # Errors
/// [`SignatureError`] says what does not hold.
pub fn describes(bundle: &Value, files: &ArtifactRef) -> Result<(), SignatureError> {
    statement_of(&Opened::of(bundle)?.payload)?.check(files)
}

/// The key that a bundle names: SHA-256 over its PEM.
pub fn key_of(bundle: &Value) -> Option<String> {
    bundle.pointer("/verificationMaterial/publicKey/hint").and_then(Value::as_str).map(str::to_owned)
}

/// A bundle taken apart, nothing of it verified.
struct Opened {
    hint: Option<String>,
    payload: Vec<u8>,
    signature: Vec<u8>,
}

impl Opened {
    fn of(bundle: &Value) -> Result<Self, SignatureError> {
        let form = |error: &dyn std::fmt::Display| SignatureError::Form(error.to_string());
        let bundle: Bundle = serde_json::from_value(bundle.clone()).map_err(|error| form(&error))?;
        let Envelope { payload, payload_type, signatures } = bundle.dsse_envelope;
        if bundle.media_type != BUNDLE || payload_type != PAYLOAD {
            let media_type = bundle.media_type;
            return Err(form(&format!("its media type is {media_type}, its payload {payload_type}")));
        }
        let [signature] = signatures.as_slice() else {
            return Err(form(&format!("it has {} signatures, expected one", signatures.len())));
        };
        let payload = BASE64.decode(payload).map_err(|error| form(&error))?;
        let signature = BASE64.decode(&signature.sig).map_err(|error| form(&error))?;
        Ok(Self { hint: bundle.verification_material.public_key.hint, payload, signature })
    }
}

fn statement_of(payload: &[u8]) -> Result<Statement, SignatureError> {
    serde_json::from_slice(payload).map_err(|error| SignatureError::Form(error.to_string()))
}

/// What is signed: the type and the payload, each with its length (DSSE, "pre-authentication encoding").
fn encoded(payload_type: &str, payload: &[u8]) -> Vec<u8> {
    let mut encoded = format!("DSSEv1 {} {payload_type} {} ", payload_type.len(), payload.len()).into_bytes();
    encoded.extend_from_slice(payload);
    encoded
}

#[cfg(test)]
mod tests;
