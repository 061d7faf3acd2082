//! An answer before it is put on the wire: status, headers, and the whole body, so that a fault can still change it.

use axum::body::Body;
use axum::http::header::{CONTENT_TYPE, HeaderMap, HeaderValue};
use axum::http::{Response, StatusCode};
use axum::response::IntoResponse;
use serde_json::{Value, json};

pub(crate) struct Answer {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Vec<u8>,
}

impl Answer {
    pub(crate) fn json(status: StatusCode, body: &Value) -> Answer {
        Answer::typed(status, "application/json", body.to_string())
    }

    pub(crate) fn typed(status: StatusCode, kind: &'static str, body: impl Into<Vec<u8>>) -> Answer {
        let headers = HeaderMap::from_iter([(CONTENT_TYPE, HeaderValue::from_static(kind))]);
        Answer { status, headers, body: body.into() }
    }

    pub(crate) fn empty(status: StatusCode) -> Answer {
        Answer { status, headers: HeaderMap::new(), body: Vec::new() }
    }

    /// A failure that is no OAuth error: a path that does not exist, a bearer that is not good.
    pub(crate) fn failure(status: StatusCode, error: &str, description: &str) -> Answer {
        Answer::json(status, &json!({ "error": error, "error_description": description }))
    }

    /// The head alone, with another body than this answer's own.
    pub(crate) fn with_body(self, body: Body) -> Response<Body> {
        let mut response = Response::new(body);
        *response.status_mut() = self.status;
        *response.headers_mut() = self.headers;
        response
    }
}

impl IntoResponse for Answer {
    fn into_response(mut self) -> Response<Body> {
        let body = std::mem::take(&mut self.body);
        self.with_body(Body::from(body))
    }
}
