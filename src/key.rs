//! Keys of namespaces.

use std::fmt;

/// The key of a namespace: a model, and optionally an adapter and a tenant.
///
/// Equal bytes of different kinds differ: a tenant and an adapter of the same name have different
/// namespaces. A plain string is the name of a model.
///
/// # Examples
///
/// ```
/// use kvtrie::NamespaceKey;
///
/// let plain = NamespaceKey::model("llama-3-8b");
/// assert_eq!(plain, "llama-3-8b".into());
/// assert_ne!(plain.clone().adapter("acme"), plain.tenant("acme"));
/// ```
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct NamespaceKey {
    model: Box<[u8]>,
    adapter: Option<Box<[u8]>>,
    tenant: Option<Box<[u8]>>,
}

impl NamespaceKey {
    /// Makes the key of a model, from its name or the hash of its weights.
    #[must_use]
    pub fn model(name: impl AsRef<[u8]>) -> Self {
        Self {
            model: name.as_ref().into(),
            adapter: None,
            tenant: None,
        }
    }

    /// Sets the adapter: its name and version, or the hash of its weights.
    #[must_use]
    pub fn adapter(self, version: impl AsRef<[u8]>) -> Self {
        Self {
            adapter: Some(version.as_ref().into()),
            ..self
        }
    }

    /// Sets the tenant: its salt.
    #[must_use]
    pub fn tenant(self, salt: impl AsRef<[u8]>) -> Self {
        Self {
            tenant: Some(salt.as_ref().into()),
            ..self
        }
    }
}

impl NamespaceKey {
    /// Returns the name of the model, or the hash of its weights.
    #[must_use]
    pub fn model_name(&self) -> &[u8] {
        &self.model
    }

    /// Returns the adapter, if it is set.
    #[must_use]
    pub fn adapter_name(&self) -> Option<&[u8]> {
        self.adapter.as_deref()
    }

    /// Returns the salt of the tenant, if it is set.
    #[must_use]
    pub fn tenant_salt(&self) -> Option<&[u8]> {
        self.tenant.as_deref()
    }
}

impl fmt::Debug for NamespaceKey {
    /// Shows names as text. The salt of a tenant is secret.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        f.debug_struct("NamespaceKey")
            .field("model", &text(&self.model))
            .field("adapter", &self.adapter.as_deref().map(text))
            .field("tenant", &self.tenant.as_ref().map(|_| "secret"))
            .finish()
    }
}

impl From<&str> for NamespaceKey {
    fn from(model: &str) -> Self {
        Self::model(model)
    }
}

impl From<String> for NamespaceKey {
    fn from(model: String) -> Self {
        Self::model(model)
    }
}

impl NamespaceKey {
    /// Returns the model, the adapter and the tenant.
    pub(crate) fn parts(&self) -> [Option<&[u8]>; 3] {
        [
            Some(&self.model),
            self.adapter.as_ref(),
            self.tenant.as_ref(),
        ]
        .map(|part| part.map(|part| &**part))
    }

    /// Returns the total size of the parts in bytes.
    pub(crate) fn bytes(&self) -> usize {
        self.parts().into_iter().flatten().map(<[u8]>::len).sum()
    }
}
