//! The names of namespaces.

/// What tells one namespace from another: a model, and within it an adapter and a tenant.
///
/// Equal bytes of different kinds stay apart: a tenant called like an adapter is another
/// namespace than that adapter. A plain string stands for a model.
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
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct NamespaceKey {
    model: Box<[u8]>,
    adapter: Option<Box<[u8]>>,
    tenant: Option<Box<[u8]>>,
}

impl NamespaceKey {
    /// A model, by name or by the hash of its weights.
    #[must_use]
    pub fn model(name: impl AsRef<[u8]>) -> Self {
        Self {
            model: name.as_ref().into(),
            adapter: None,
            tenant: None,
        }
    }

    /// The same with an adapter: its name and version, or the hash of its weights.
    #[must_use]
    pub fn adapter(self, version: impl AsRef<[u8]>) -> Self {
        Self {
            adapter: Some(version.as_ref().into()),
            ..self
        }
    }

    /// The same with a tenant's salt.
    #[must_use]
    pub fn tenant(self, salt: impl AsRef<[u8]>) -> Self {
        Self {
            tenant: Some(salt.as_ref().into()),
            ..self
        }
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
    /// Returns the bytes that the parts take.
    pub(crate) fn bytes(&self) -> usize {
        let parts = [
            Some(&self.model),
            self.adapter.as_ref(),
            self.tenant.as_ref(),
        ];
        parts.into_iter().flatten().map(|part| part.len()).sum()
    }
}
