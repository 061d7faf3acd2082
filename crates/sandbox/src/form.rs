//! The parameters of a request, from a form or from a query.

/// The parameters in their order. An empty value counts as a missing one (RFC 6749, section 3.2).
pub(crate) struct Form(Vec<(String, String)>);

impl Form {
    pub(crate) fn read(text: &[u8]) -> Form {
        Form(form_urlencoded::parse(text).into_owned().collect())
    }

    pub(crate) fn get(&self, name: &str) -> Option<&str> {
        self.0.iter().find(|(key, value)| key == name && !value.is_empty()).map(|(_, value)| value.as_str())
    }

    /// All that were sent, the empty ones too.
    pub(crate) fn fields(&self) -> impl Iterator<Item = (&str, &str)> {
        self.0.iter().map(|(name, value)| (name.as_str(), value.as_str()))
    }

    pub(crate) fn has_duplicates(&self) -> bool {
        let mut names: Vec<&str> = self.0.iter().map(|(name, _)| name.as_str()).collect();
        names.sort_unstable();
        names.windows(2).any(|pair| pair[0] == pair[1])
    }
}

/// The address with these parameters behind it.
pub(crate) fn with_query(address: &str, parameters: &[(&str, &str)]) -> String {
    let query =
        form_urlencoded::Serializer::new(String::new()).extend_pairs(parameters.iter().copied()).finish();
    let joint = if address.contains('?') { '&' } else { '?' };
    format!("{address}{joint}{query}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parameters_go_behind_those_that_are_there() {
        assert_eq!(with_query("http://a/b", &[("c", "d e")]), "http://a/b?c=d+e");
        assert_eq!(with_query("http://a/b?x=1", &[("c", "&")]), "http://a/b?x=1&c=%26");
    }
}
