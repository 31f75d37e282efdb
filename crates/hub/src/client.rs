//! Requests to the hub. Redirects are followed here, one by one: the token goes to the endpoint and to nobody else.

use std::time::Duration;

use ureq::http::{Response, Uri, header};
use ureq::{Agent, Body};

/// Redirects that lead on to others end somewhere.
const MOST_REDIRECTS: usize = 10;
/// How long the hub may take to accept a connection or to send the next bytes.
const PATIENCE: Duration = Duration::from_secs(60);

/// Who asks the hub.
pub struct Client {
    agent: Agent,
    endpoint: String,
    token: Option<String>,
}

impl Client {
    /// For the hub at an address.
    pub fn new(endpoint: String, token: Option<String>) -> Self {
        let config = Agent::config_builder()
            .max_redirects(0)
            .max_redirects_will_error(false)
            .timeout_connect(Some(PATIENCE))
            .timeout_recv_response(Some(PATIENCE))
            .timeout_per_read(Some(PATIENCE))
            .user_agent(concat!("robustify/", env!("CARGO_PKG_VERSION")));
        Self { agent: config.build().into(), endpoint, token }
    }

    /// What is at a path of the endpoint, wherever that leads to, from byte `first` on; `seen` gets every answer on the way.
    ///
    /// # Errors
    /// An answer with a status from 400 on, none, or redirects without an end.
    pub fn get(
        &self,
        path: &str,
        first: u64,
        mut seen: impl FnMut(&Response<Body>),
    ) -> Result<Response<Body>, ureq::Error> {
        let mut address = format!("{}/{path}", self.endpoint);
        for _ in 0..=MOST_REDIRECTS {
            let uri: Uri = address.parse().map_err(|_| ureq::Error::BadUri(address.clone()))?;
            let mut request = self.agent.get(&uri);
            if let Some(token) = self.token.as_ref().filter(|_| self.is_endpoint(&uri)) {
                request = request.header(header::AUTHORIZATION, format!("Bearer {token}"));
            }
            if first > 0 {
                request = request.header(header::RANGE, format!("bytes={first}-"));
            }
            let response = request.call()?;
            seen(&response);
            let next = response.headers().get(header::LOCATION).and_then(|next| next.to_str().ok());
            match next.filter(|_| response.status().is_redirection()) {
                None => return Ok(response),
                Some(next) => address = joined(&uri, next),
            }
        }
        Err(ureq::Error::TooManyRedirects)
    }

    fn is_endpoint(&self, uri: &Uri) -> bool {
        let own = self.endpoint.parse::<Uri>();
        own.is_ok_and(|own| own.scheme() == uri.scheme() && own.authority() == uri.authority())
    }
}

/// Where a redirect leads that was sent from `from`.
fn joined(from: &Uri, next: &str) -> String {
    let origin = format!("{}://{}", from.scheme_str().unwrap_or("https"), from.authority().map_or("", |a| a.as_str()));
    match next {
        _ if next.starts_with("https://") || next.starts_with("http://") => next.to_owned(),
        _ if next.starts_with("//") => format!("{}:{next}", from.scheme_str().unwrap_or("https")),
        _ if next.starts_with('/') => format!("{origin}{next}"),
        _ => {
            let folder = from.path().rsplit_once('/').map_or("", |(folder, _)| folder);
            format!("{origin}{folder}/{next}")
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn redirects_lead_where_they_say() {
        let from: Uri = "https://hub.example/a/b?c".parse().unwrap();
        for (next, expected) in [
            ("https://cdn.example/x?y", "https://cdn.example/x?y"),
            ("//cdn.example/x", "https://cdn.example/x"),
            ("/x", "https://hub.example/x"),
            ("/x?from=https://a.example", "https://hub.example/x?from=https://a.example"),
            ("x", "https://hub.example/a/x"),
        ] {
            assert_eq!(joined(&from, next), expected);
        }
    }

    #[test]
    fn only_the_endpoint_is_the_endpoint() {
        let client = Client::new("https://hub.example".into(), None);
        for (address, expected) in [
            ("https://hub.example/x", true),
            ("http://hub.example/x", false),
            ("https://hub.example:444/x", false),
            ("https://hub.example.org/x", false),
        ] {
            assert_eq!(client.is_endpoint(&address.parse().unwrap()), expected, "{address}");
        }
    }
}
