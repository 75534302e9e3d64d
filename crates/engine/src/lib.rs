//! The engine API: declared routes over a view, typed requests, replies.
