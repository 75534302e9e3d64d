//! The one pair of derives: typed requests and typed responses. Functions stay plain functions.

use proc_macro::TokenStream;
use quote::quote;
use syn::spanned::Spanned;
use syn::{Attribute, Data, DeriveInput, Expr, Fields, LitStr, Meta, parse_macro_input};

/// Reads a struct from a call's path, query and body; see `coffer_engine::Request`.
#[proc_macro_derive(Request, attributes(field))]
pub fn request(input: TokenStream) -> TokenStream {
    let input = parse_macro_input!(input as DeriveInput);
    expand_request(&input).unwrap_or_else(|e| e.to_compile_error()).into()
}

/// Writes a struct as a reply's data; see `coffer_engine::Response`.
#[proc_macro_derive(Response, attributes(field))]
pub fn response(input: TokenStream) -> TokenStream {
    let input = parse_macro_input!(input as DeriveInput);
    expand_response(&input).unwrap_or_else(|e| e.to_compile_error()).into()
}

fn expand_request(input: &DeriveInput) -> syn::Result<proc_macro2::TokenStream> {
    let name = &input.ident;
    let about = doc(&input.attrs);
    let about = about.split("\n\n").next().unwrap_or_default().replace('\n', " ");
    let mut schemas = Vec::new();
    let mut reads = Vec::new();
    let mut rest = Vec::new();
    let mut names = Vec::new();
    for field in named(input)? {
        let ident = field.ident.as_ref().ok_or_else(|| syn::Error::new(field.span(), "a named field"))?;
        let ty = &field.ty;
        let marks = marks(&field.attrs)?;
        if marks.flatten {
            schemas.push(quote!(fields.extend(<#ty as ::coffer_engine::Request>::fields());));
            reads.push(quote!(let #ident = <#ty as ::coffer_engine::Request>::read(raw)?;));
            names.push(ident);
            continue;
        }
        let wire = wire_name(&marks, ident);
        let help = doc(&field.attrs).replace('\n', " ");
        let source = if marks.path {
            quote!(Path)
        } else if marks.query {
            quote!(Query)
        } else if marks.rest {
            quote!(Rest)
        } else {
            quote!(Body)
        };
        let optional = is_option(ty);
        let default = marks.default;
        let required = !optional && default.is_none();
        schemas.push(quote! {
            fields.push(::coffer_engine::Field {
                name: #wire,
                kind: <#ty as ::coffer_engine::FromField>::KIND,
                source: ::coffer_engine::Source::#source,
                required: #required,
                help: #help,
            });
        });
        let absent = match (default, optional) {
            (Some(expr), _) => quote!(#expr),
            (None, true) => quote!(None),
            (None, false) => quote!(return Err(::coffer_engine::field::missing(#wire))),
        };
        let read = quote! {
            let #ident: #ty = match ::coffer_engine::field::read_field::<#ty>(raw, #wire, ::coffer_engine::Source::#source)? {
                Some(value) => value,
                None => #absent,
            };
        };
        // The whole body is read last: the other fields are taken out of it first.
        if marks.rest {
            rest.push(read);
        } else {
            reads.push(read);
        }
        names.push(ident);
    }
    Ok(quote! {
        impl ::coffer_engine::Request for #name {
            const ABOUT: &'static str = #about;
            fn fields() -> Vec<::coffer_engine::Field> {
                #[allow(unused_mut, clippy::vec_init_then_push, reason = "one push a field, for flattened ones too")]
                let mut fields = Vec::new();
                #(#schemas)*
                fields
            }
            fn read(raw: &mut ::coffer_engine::RawFields<'_>) -> ::coffer_engine::field::Result<Self> {
                #(#reads)*
                #(#rest)*
                Ok(Self { #(#names),* })
            }
        }
    })
}

fn expand_response(input: &DeriveInput) -> syn::Result<proc_macro2::TokenStream> {
    let name = &input.ident;
    let mut schemas = Vec::new();
    let mut writes = Vec::new();
    for field in named(input)? {
        let ident = field.ident.as_ref().ok_or_else(|| syn::Error::new(field.span(), "a named field"))?;
        let ty = &field.ty;
        let marks = marks(&field.attrs)?;
        if marks.flatten {
            schemas.push(quote!(fields.extend(<#ty as ::coffer_engine::Response>::fields());));
            writes.push(quote! {
                for (name, value) in ::coffer_engine::Response::into_object(self.#ident) {
                    object.insert(name, value);
                }
            });
            continue;
        }
        let wire = wire_name(&marks, ident);
        let help = doc(&field.attrs).replace('\n', " ");
        schemas.push(quote! {
            fields.push(::coffer_engine::Field {
                name: #wire,
                kind: <#ty as ::coffer_engine::IntoField>::KIND,
                source: ::coffer_engine::Source::Body,
                required: true,
                help: #help,
            });
        });
        writes.push(quote!(object.insert(#wire, ::coffer_engine::IntoField::into_field(self.#ident));));
    }
    let members = writes.len();
    Ok(quote! {
        impl ::coffer_engine::Response for #name {
            fn fields() -> Vec<::coffer_engine::Field> {
                #[allow(unused_mut, clippy::vec_init_then_push, reason = "one push a field, for flattened ones too")]
                let mut fields = Vec::new();
                #(#schemas)*
                fields
            }
            fn into_object(self) -> ::coffer_engine::field::Object {
                let mut object = ::coffer_engine::field::Object::with_capacity(#members);
                #(#writes)*
                object
            }
        }
    })
}

fn named(input: &DeriveInput) -> syn::Result<Vec<&syn::Field>> {
    match &input.data {
        Data::Struct(data) => match &data.fields {
            Fields::Named(fields) => Ok(fields.named.iter().collect()),
            Fields::Unit => Ok(Vec::new()),
            Fields::Unnamed(fields) => Err(syn::Error::new(fields.span(), "give the fields names")),
        },
        _ => Err(syn::Error::new(input.span(), "only structs")),
    }
}

/// What `#[field(...)]` says: `path`, `query`, `rest`, `flatten`, `default`, `default = EXPR`, `rename = "wire"`.
#[derive(Default)]
struct Marks {
    path: bool,
    query: bool,
    rest: bool,
    flatten: bool,
    default: Option<proc_macro2::TokenStream>,
    rename: Option<String>,
}

fn marks(attrs: &[Attribute]) -> syn::Result<Marks> {
    let mut marks = Marks::default();
    for attr in attrs.iter().filter(|a| a.path().is_ident("field")) {
        attr.parse_nested_meta(|meta| {
            if meta.path.is_ident("path") {
                marks.path = true;
            } else if meta.path.is_ident("query") {
                marks.query = true;
            } else if meta.path.is_ident("rest") {
                marks.rest = true;
            } else if meta.path.is_ident("flatten") {
                marks.flatten = true;
            } else if meta.path.is_ident("default") {
                marks.default = Some(if meta.input.peek(syn::Token![=]) {
                    let expr: Expr = meta.value()?.parse()?;
                    quote!(#expr)
                } else {
                    quote!(::core::default::Default::default())
                });
            } else if meta.path.is_ident("rename") {
                marks.rename = Some(meta.value()?.parse::<LitStr>()?.value());
            } else {
                return Err(meta.error("path, query, rest, flatten, default or rename"));
            }
            Ok(())
        })?;
    }
    Ok(marks)
}

fn wire_name(marks: &Marks, ident: &syn::Ident) -> String {
    marks.rename.clone().unwrap_or_else(|| ident.to_string().trim_start_matches("r#").to_owned())
}

fn is_option(ty: &syn::Type) -> bool {
    matches!(ty, syn::Type::Path(path) if path.path.segments.last().is_some_and(|s| s.ident == "Option"))
}

fn doc(attrs: &[Attribute]) -> String {
    let lines: Vec<String> = attrs
        .iter()
        .filter(|a| a.path().is_ident("doc"))
        .filter_map(|a| match &a.meta {
            Meta::NameValue(nv) => match &nv.value {
                Expr::Lit(syn::ExprLit { lit: syn::Lit::Str(s), .. }) => Some(s.value().trim().to_owned()),
                _ => None,
            },
            _ => None,
        })
        .collect();
    lines.join("\n").trim().to_owned()
}
