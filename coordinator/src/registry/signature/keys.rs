//! Keys that sign manifests: over the curve P-256, or Ed25519; private ones as PKCS #8, public ones as SPKI, both in PEM.

use std::{fmt, path::Path, str::FromStr};

use base64::{Engine as _, engine::general_purpose::STANDARD as BASE64};
use clara_lifecycle::digest::Digest;
use ring::{
    rand::{SecureRandom as _, SystemRandom},
    signature::{
        ECDSA_P256_SHA256_ASN1, ECDSA_P256_SHA256_ASN1_SIGNING, ED25519, EcdsaKeyPair, Ed25519KeyPair,
        KeyPair as _, UnparsedPublicKey,
    },
};

use super::SignatureError;

const PRIVATE: &str = "PRIVATE KEY";
const PUBLIC: &str = "PUBLIC KEY";

/// What stands before the 65 bytes of an uncompressed point in the SPKI of a P-256 key.
const P256_SPKI: [u8; 26] = [
    0x30, 0x59, 0x30, 0x13, 0x06, 0x07, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x02, 0x01, 0x06, 0x08, 0x2a, 0x86,
    0x48, 0xce, 0x3d, 0x03, 0x01, 0x07, 0x03, 0x42, 0x00,
];
/// What stands before the 32 bytes of an Ed25519 key in its SPKI.
const ED25519_SPKI: [u8; 12] = [0x30, 0x2a, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70, 0x03, 0x21, 0x00];
/// What stands before the 32 bytes of an Ed25519 seed in its PKCS #8 document, version 1.
const ED25519_PKCS8: [u8; 16] =
    [0x30, 0x2e, 0x02, 0x01, 0x00, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70, 0x04, 0x22, 0x04, 0x20];

/// What kind of key signs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum KeyKind {
    /// ECDSA over the curve P-256 with SHA-256; `model_signing` verifies it.
    P256,
    /// Ed25519; `model_signing` 1.1 does not verify it.
    Ed25519,
}

impl FromStr for KeyKind {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "p256" => Ok(Self::P256),
            "ed25519" => Ok(Self::Ed25519),
            _ => Err(format!("`{text}` is no kind of key; expected p256 or ed25519")),
        }
    }
}

/// A key that signatures are verified with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PublicKey {
    kind: KeyKind,
    raw: Vec<u8>,
}

/// A key that signs.
pub struct Signer {
    pair: Pair,
    public: PublicKey,
}

enum Pair {
    P256(EcdsaKeyPair),
    Ed25519(Ed25519KeyPair),
}

impl fmt::Debug for Signer {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Signer").field("public", &self.public).finish_non_exhaustive()
    }
}

impl Signer {
    /// Makes a new key and answers its PEM.
    ///
    /// # Errors
    /// [`SignatureError::Signing`] when the system gives no random numbers.
    pub fn generate(kind: KeyKind) -> Result<String, SignatureError> {
        let no_random = |_| SignatureError::Signing("the system gives no random numbers".to_owned());
        let random = SystemRandom::new();
        match kind {
            KeyKind::P256 => {
                let key = EcdsaKeyPair::generate_pkcs8(&ECDSA_P256_SHA256_ASN1_SIGNING, &random);
                Ok(to_pem(PRIVATE, key.map_err(no_random)?.as_ref()))
            }
            KeyKind::Ed25519 => {
                let mut seed = [0_u8; 32];
                random.fill(&mut seed).map_err(no_random)?;
                Ok(to_pem(PRIVATE, &[ED25519_PKCS8.as_slice(), &seed].concat()))
            }
        }
    }

    /// Reads a private key from a file.
    ///
    /// # Errors
    /// [`SignatureError::Key`] when there is none that can sign.
    pub fn from_file(path: &Path) -> Result<Self, SignatureError> {
        let what = path.display().to_string();
        let text = std::fs::read_to_string(path)
            .map_err(|error| SignatureError::Key { what: what.clone(), reason: error.to_string() })?;
        Self::from_pem(&what, &text)
    }

    /// Reads a private key; `what` tells in errors where it came from.
    ///
    /// # Errors
    /// [`SignatureError::Key`] when it is none that can sign.
    pub fn from_pem(what: &str, text: &str) -> Result<Self, SignatureError> {
        let refused = |reason: &str| SignatureError::Key { what: what.to_owned(), reason: reason.to_owned() };
        let document = of_pem(PRIVATE, text).map_err(|reason| refused(&reason))?;
        let ecdsa =
            EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_ASN1_SIGNING, &document, &SystemRandom::new());
        let pair =
            match ecdsa {
                Ok(pair) => Pair::P256(pair),
                Err(_) => Ed25519KeyPair::from_pkcs8_maybe_unchecked(&document).map(Pair::Ed25519).map_err(
                    |_| refused("expected PKCS #8 with a P-256 or an Ed25519 key, without a passphrase"),
                )?,
            };
        let public = match &pair {
            Pair::P256(pair) => PublicKey { kind: KeyKind::P256, raw: pair.public_key().as_ref().to_vec() },
            Pair::Ed25519(pair) => {
                PublicKey { kind: KeyKind::Ed25519, raw: pair.public_key().as_ref().to_vec() }
            }
        };
        Ok(Self { pair, public })
    }

    /// The key that verifies what this one signs.
    pub fn public_key(&self) -> &PublicKey {
        &self.public
    }

    pub(super) fn sign(&self, message: &[u8]) -> Result<Vec<u8>, SignatureError> {
        match &self.pair {
            Pair::P256(pair) => pair
                .sign(&SystemRandom::new(), message)
                .map(|signature| signature.as_ref().to_vec())
                .map_err(|_| SignatureError::Signing("the system gives no random numbers".to_owned())),
            Pair::Ed25519(pair) => Ok(pair.sign(message).as_ref().to_vec()),
        }
    }
}

impl PublicKey {
    /// Reads a public key; `what` tells in errors where it came from.
    ///
    /// # Errors
    /// [`SignatureError::Key`] when it is none that signatures can be verified with.
    pub fn from_pem(what: &str, text: &str) -> Result<Self, SignatureError> {
        let refused = |reason: &str| SignatureError::Key { what: what.to_owned(), reason: reason.to_owned() };
        let spki = of_pem(PUBLIC, text).map_err(|reason| refused(&reason))?;
        let kinds = [(KeyKind::P256, P256_SPKI.as_slice(), 65), (KeyKind::Ed25519, &ED25519_SPKI, 32)];
        for (kind, prefix, length) in kinds {
            if let Some(raw) = spki.strip_prefix(prefix).filter(|raw| raw.len() == length) {
                return Ok(Self { kind, raw: raw.to_vec() });
            }
        }
        Err(refused("expected the public key of a P-256 or an Ed25519 key"))
    }

    /// The key in PEM.
    pub fn pem(&self) -> String {
        let prefix: &[u8] = match self.kind {
            KeyKind::P256 => &P256_SPKI,
            KeyKind::Ed25519 => &ED25519_SPKI,
        };
        to_pem(PUBLIC, &[prefix, &self.raw].concat())
    }

    /// Names the key in bundles: SHA-256 over its PEM.
    pub fn id(&self) -> Digest {
        Digest::of(self.pem().as_bytes())
    }

    pub(super) fn verify(&self, message: &[u8], signature: &[u8]) -> Result<(), SignatureError> {
        let verified = match self.kind {
            KeyKind::P256 => {
                UnparsedPublicKey::new(&ECDSA_P256_SHA256_ASN1, &self.raw).verify(message, signature)
            }
            KeyKind::Ed25519 => UnparsedPublicKey::new(&ED25519, &self.raw).verify(message, signature),
        };
        verified.map_err(|_| SignatureError::Forged)
    }
}

fn to_pem(label: &str, document: &[u8]) -> String {
    let text = BASE64.encode(document);
    let mut pem = format!("-----BEGIN {label}-----\n");
    let mut rest = text.as_str();
    while !rest.is_empty() {
        let (line, after) = rest.split_at(rest.len().min(64));
        pem.push_str(line);
        pem.push('\n');
        rest = after;
    }
    pem + "-----END " + label + "-----\n"
}

fn of_pem(label: &str, text: &str) -> Result<Vec<u8>, String> {
    let (begin, end) = (format!("-----BEGIN {label}-----"), format!("-----END {label}-----"));
    let body = text.split_once(&begin).and_then(|(_, rest)| rest.split_once(&end)).map(|(body, _)| body);
    let body = body.ok_or_else(|| format!("it has no block `{label}`"))?;
    let body: String = body.split_whitespace().collect();
    BASE64.decode(body).map_err(|error| error.to_string())
}
