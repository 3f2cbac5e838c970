//! A program that takes signed messages: what to load, what to unload, and who is champion.
//!
//! Signed as the Standard Webhooks specification says (version 1.0, symmetric): `webhook-signature: v1,` and the base64 of
//! HMAC-SHA-256 over `id.timestamp.body`. A message is repeated with the same id until it is taken.

use async_trait::async_trait;
use base64::{Engine as _, engine::general_purpose::STANDARD};
use clara_lifecycle::{
    dataset::ChatMessage, digest::Digest, fingerprint::ServedReply, served::ListedAdapter,
};
use clara_runtime::clock::{Clock as _, SystemClock};
use hmac::{Hmac, KeyInit as _, Mac as _};
use serde_json::{Value, json};
use sha2::Sha256;

use super::{
    error::TargetError,
    replica::{Call, Replica},
    target::{Form, News, Staged, Target},
};

/// Secrets of the specification begin so; the rest is base64.
const SECRET_PREFIX: &str = "whsec_";

/// Messages of the types `adapter.load`, `adapter.unload` and `champion.moved`.
#[derive(Debug)]
pub(super) struct Webhook {
    pub(super) target: String,
}

impl Webhook {
    /// Sends one message; `once` holds what makes it different from all others of its type.
    async fn send(
        &self,
        replica: &Replica,
        kind: &'static str,
        once: &str,
        data: Value,
    ) -> Result<String, TargetError> {
        let parts = [self.target.as_str(), &replica.url, kind, once];
        let id = Digest::of_parts(parts.map(|part| ("", part.as_bytes())));
        let id = format!("msg_{}", id.as_str().get(..32).unwrap_or_default());
        let timestamp = (SystemClock.now().0 / 1000).to_string();
        let body = json!({ "type": kind, "target": self.target, "data": data });
        let key = replica.key.as_ref().map(|key| key.reveal().to_owned()).unwrap_or_default();
        let signature =
            signature(&key, &id, &timestamp, &body.to_string()).ok_or_else(|| TargetError::Unable {
                url: replica.url.clone(),
                name: id.clone(),
                reason: "the secret begins with whsec_, but the rest is no base64".to_owned(),
            })?;
        let headers =
            vec![("webhook-id", id), ("webhook-timestamp", timestamp), ("webhook-signature", signature)];
        let call = Call::post("", &body, replica.load_timeout).signed(headers);
        Ok(replica.accepted(&call, "").await?.short())
    }
}

/// The header `webhook-signature`; `None` when the secret cannot be read.
fn signature(secret: &str, id: &str, timestamp: &str, body: &str) -> Option<String> {
    let key = match secret.strip_prefix(SECRET_PREFIX) {
        Some(encoded) => STANDARD.decode(encoded).ok()?,
        None => secret.as_bytes().to_vec(),
    };
    let mut mac = Hmac::<Sha256>::new_from_slice(&key).ok()?;
    mac.update(format!("{id}.{timestamp}.{body}").as_bytes());
    Some(format!("v1,{}", STANDARD.encode(mac.finalize().into_bytes())))
}

#[async_trait]
impl Target for Webhook {
    fn form(&self) -> Form {
        Form::Nothing
    }

    async fn load(&self, replica: &Replica, staged: &Staged) -> Result<String, TargetError> {
        let data = json!({
            "name": staged.name, "adapter_id": staged.adapter_id, "checksum": staged.checksum,
            "artifact": staged.path_on_server, "base_model": staged.base_model,
        });
        let once = format!("{}/{}", staged.name, staged.cause);
        self.send(replica, "adapter.load", &once, data).await
    }

    async fn unload(&self, replica: &Replica, name: &str) -> Result<String, TargetError> {
        let once = format!("{name}/{}", SystemClock.now().0);
        self.send(replica, "adapter.unload", &once, json!({ "name": name })).await
    }

    async fn list(&self, _replica: &Replica) -> Result<Option<Vec<ListedAdapter>>, TargetError> {
        Ok(None)
    }

    async fn ask(
        &self,
        _replica: &Replica,
        _name: &str,
        _turns: &[ChatMessage],
    ) -> Result<Option<ServedReply>, TargetError> {
        Ok(None)
    }

    async fn tell(&self, replica: &Replica, news: &News) -> Result<Option<String>, TargetError> {
        let data = json!({
            "family_id": news.family_id, "champion": news.champion, "name": news.name, "previous": news.previous,
        });
        let once = format!("{}/{}/{}", news.family_id, news.champion, news.number);
        self.send(replica, "champion.moved", &once, data).await.map(Some)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The example of the Standard Webhooks specification.
    #[test]
    fn messages_are_signed_as_the_specification_says() {
        let signed = signature(
            "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw",
            "msg_p5jXN8AQM9LWM0D4loKWxJek",
            "1614265330",
            r#"{"test": 2432232314}"#,
        );
        assert_eq!(signed.as_deref(), Some("v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="));
    }

    #[test]
    fn a_secret_that_cannot_be_read_signs_nothing() {
        assert_eq!(signature("whsec_***", "a", "1", "{}"), None);
    }
}
