//! What dialects say that are known and not built yet: each protocol's own words for it, so that its clients
//! report it and do not try again.

use bytes::Bytes;
use http::{HeaderName, HeaderValue, Response, StatusCode, header};

/// AWS JSON 1.1: <https://smithy.io/2.0/aws/protocols/aws-json-1_1-protocol.html>.
pub(crate) fn aws_json() -> Response<Bytes> {
    let body = r#"{"__type":"UnknownOperationException","message":"This operation is not implemented."}"#;
    let mut response = answer(StatusCode::BAD_REQUEST, "application/x-amz-json-1.1", body);
    let name = HeaderName::from_static("x-amzn-errortype");
    response.headers_mut().insert(name, HeaderValue::from_static("UnknownOperationException"));
    response
}

/// AWS Query: <https://smithy.io/2.0/aws/protocols/aws-query-protocol.html>.
pub(crate) fn aws_query() -> Response<Bytes> {
    let body = "<ErrorResponse><Error><Type>Sender</Type><Code>InvalidAction</Code>\
                <Message>This operation is not implemented.</Message></Error></ErrorResponse>";
    answer(StatusCode::BAD_REQUEST, "text/xml", body)
}

/// Azure: <https://learn.microsoft.com/rest/api/keyvault/#error-response>.
pub(crate) fn azure() -> Response<Bytes> {
    let body = r#"{"error":{"code":"NotImplemented","message":"This operation is not implemented."}}"#;
    answer(StatusCode::NOT_IMPLEMENTED, "application/json", body)
}

/// Google's REST: <https://google.aip.dev/193>.
pub(crate) fn gcp_rest() -> Response<Bytes> {
    let body = r#"{"error":{"code":501,"message":"This operation is not implemented.","status":"UNIMPLEMENTED"}}"#;
    answer(StatusCode::NOT_IMPLEMENTED, "application/json", body)
}

/// gRPC, trailers only: <https://github.com/grpc/grpc/blob/master/doc/PROTOCOL-HTTP2.md>.
pub(crate) fn gcp_grpc() -> Response<Bytes> {
    let mut response = answer(StatusCode::OK, "application/grpc", "");
    let headers = response.headers_mut();
    headers.insert(HeaderName::from_static("grpc-status"), HeaderValue::from_static("12"));
    headers.insert(HeaderName::from_static("grpc-message"), HeaderValue::from_static("This operation is not implemented."));
    response
}

fn answer(status: StatusCode, kind: &'static str, body: &'static str) -> Response<Bytes> {
    let mut response = Response::new(Bytes::from_static(body.as_bytes()));
    *response.status_mut() = status;
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static(kind));
    response.headers_mut().insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}
