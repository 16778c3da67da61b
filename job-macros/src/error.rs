//! `#[derive(JobError)]`, on the same way as the jobs: parse, check, expand.

use std::time::Duration;

use proc_macro2::{Span, TokenStream};
use quote::{quote, quote_spanned};
use syn::spanned::Spanned;
use syn::{Attribute, Data, DeriveInput, Expr, Fields, Ident, Index, Member, Path};

use crate::{Errors, expand, options};

/// An error type: what each of its cases says.
struct ErrorType {
    ident: Ident,
    cases: Vec<Case>,
}

/// A variant of an enum, or the whole of a struct.
struct Case {
    /// `None` for a struct.
    variant: Option<Ident>,
    says: Says,
}

/// What becomes of the job.
enum Says {
    Retry,
    RetryAfter(Time),
    Permanent,
    Discard,
    Snooze(Time),
    /// What the error inside says.
    Transparent(Member),
}

/// How long to wait.
enum Time {
    Fixed(Duration),
    /// What the field holds.
    Field(Member),
}

/// What there is to say, with an example.
const ALL: [(&str, &str); 6] = [
    ("retry", "`#[retry]`"),
    ("retry_after", "`#[retry_after(\"30s\")]`, or `#[retry_after(field)]`"),
    ("permanent", "`#[permanent]`"),
    ("discard", "`#[discard]`"),
    ("snooze", "`#[snooze(\"1m\")]`, or `#[snooze(field)]`"),
    ("transparent", "`#[transparent]`"),
];

pub(crate) fn derive(item: &DeriveInput) -> TokenStream {
    let mut errors = Errors::default();
    let error = check(item, &mut errors);
    let krate = krate(item, &mut errors);
    match errors.into_compile_errors() {
        Some(errors) => errors,
        None => expand(&krate, &error),
    }
}

/// Where job-core is, by `#[job_error(crate = path)]`.
fn krate(item: &DeriveInput, errors: &mut Errors) -> Path {
    let mut krate = syn::parse_quote!(::job_core);
    for attr in item.attrs.iter().filter(|attr| attr.path().is_ident("job_error")) {
        let given = attr.parse_nested_meta(|meta| {
            if !meta.path.is_ident("crate") {
                return Err(meta.error("its one option is `crate = path`, where job-core is"));
            }
            krate = options::krate(&meta.value()?.parse()?)?;
            Ok(())
        });
        if let Err(error) = given {
            errors.push(error);
        }
    }
    krate
}

fn check(item: &DeriveInput, errors: &mut Errors) -> ErrorType {
    if !item.generics.params.is_empty() {
        errors.at(
            &item.generics,
            "an error type with parameters cannot say what becomes of a job: use one without, or \
             say it with `JobError::permanent(..)` and its like",
        );
    }
    let cases = match &item.data {
        Data::Struct(data) => {
            let says = says(&item.attrs, &data.fields, errors).unwrap_or(Says::Retry);
            vec![Case { variant: None, says }]
        }
        Data::Enum(data) => {
            if let Some(attr) = item.attrs.iter().find(|attr| key(attr).is_some()) {
                errors.at(attr, "each variant speaks for itself: write this on the variants");
            }
            let variants = data.variants.iter().map(|variant| Case {
                variant: Some(variant.ident.clone()),
                says: says(&variant.attrs, &variant.fields, errors).unwrap_or(Says::Retry),
            });
            variants.collect()
        }
        Data::Union(data) => {
            errors.at(data.union_token, "an error is an enum or a struct");
            Vec::new()
        }
    };
    ErrorType { ident: item.ident.clone(), cases }
}

/// Which of ours the attribute is.
fn key(attr: &Attribute) -> Option<&'static str> {
    ALL.iter().map(|(name, _)| *name).find(|name| attr.path().is_ident(name))
}

fn says(attrs: &[Attribute], fields: &Fields, errors: &mut Errors) -> Option<Says> {
    for field in fields {
        if let Some(attr) = field.attrs.iter().find(|attr| key(attr).is_some()) {
            errors.at(attr, "this is said of a variant as a whole: write it in front of its name");
        }
    }
    let mut ours = attrs.iter().filter_map(|attr| Some((key(attr)?, attr)));
    let (key, attr) = ours.next()?;
    if let Some((other, second)) = ours.next() {
        errors.at(second, format!("it says `{key}` already: remove that or `{other}`"));
    }
    let result = match key {
        "retry_after" => time(attr, fields).map(Says::RetryAfter),
        "snooze" => time(attr, fields).map(Says::Snooze),
        _ => attr.meta.require_path_only().map_err(|_| nothing_in_it(key, attr)).and_then(|_| {
            Ok(match key {
                "retry" => Says::Retry,
                "permanent" => Says::Permanent,
                "discard" => Says::Discard,
                _ => Says::Transparent(only_field(attr, fields)?),
            })
        }),
    };
    result.map_err(|error| errors.push(error)).ok()
}

fn nothing_in_it(key: &str, attr: &Attribute) -> syn::Error {
    syn::Error::new_spanned(attr, format!("nothing goes into it: write `#[{key}]`"))
}

fn only_field(attr: &Attribute, fields: &Fields) -> syn::Result<Member> {
    if fields.len() != 1 {
        let message = "this takes a variant with one field, which is the error that decides";
        return Err(syn::Error::new_spanned(attr, message));
    }
    Ok(fields.members().next().expect("there is one"))
}

fn time(attr: &Attribute, fields: &Fields) -> syn::Result<Time> {
    let (_, example) = ALL.iter().find(|(name, _)| attr.path().is_ident(name)).expect("it is ours");
    let needs_time = || syn::Error::new_spanned(attr, format!("it needs a time: write {example}"));
    let value: Expr = attr.parse_args().map_err(|_| needs_time())?;
    let member = match &value {
        Expr::Path(path) => path.path.get_ident().cloned().map(Member::Named),
        Expr::Lit(literal) => match &literal.lit {
            syn::Lit::Int(index) if index.suffix().is_empty() => index
                .base10_parse()
                .ok()
                .map(|number| Member::Unnamed(Index { index: number, span: index.span() })),
            _ => None,
        },
        _ => return Err(needs_time()),
    };
    match member {
        None => options::duration(&value).map(Time::Fixed),
        Some(member) if fields.members().any(|field| field == member) => Ok(Time::Field(member)),
        Some(Member::Unnamed(_)) => options::duration(&value).map(Time::Fixed),
        Some(Member::Named(name)) => Err(syn::Error::new_spanned(
            &value,
            format!(
                "there is no field `{name}` here: write one of type `Duration`, or a time such as `\"30s\"`"
            ),
        )),
    }
}

fn expand(krate: &Path, error: &ErrorType) -> TokenStream {
    let ErrorType { ident, cases } = error;
    let private = quote!(#krate::__private);
    let verdict = quote!(#private::Verdict);
    let arms = cases.iter().map(|Case { variant, says }| {
        let path = match variant {
            Some(variant) => quote!(Self::#variant),
            None => quote!(Self),
        };
        // Its span is what is shown if its type is wrong.
        let field = |member: &Member| Ident::new("__field", member.span());
        let with = |member: &Member| {
            let field = field(member);
            quote!(#path { #member: #field, .. })
        };
        let any = quote!(#path { .. });
        match says {
            Says::Retry => quote!(#any => #verdict::Retry(::core::option::Option::None)),
            Says::Permanent => quote!(#any => #verdict::Permanent),
            Says::Discard => quote!(#any => #verdict::Discard),
            Says::RetryAfter(Time::Fixed(time)) => {
                let time = expand::duration(*time);
                quote!(#any => #verdict::Retry(::core::option::Option::Some(#time)))
            }
            Says::Snooze(Time::Fixed(time)) => {
                let time = expand::duration(*time);
                quote!(#any => #verdict::Snooze(#time))
            }
            Says::RetryAfter(Time::Field(member)) => {
                let (with, field, at) = (with(member), field(member), member.span());
                let delay = quote_spanned!(at=> #private::Delay::delay(#field));
                quote!(#with => #verdict::Retry(#delay))
            }
            Says::Snooze(Time::Field(member)) => {
                let (with, field, at) = (with(member), field(member), member.span());
                let delay = quote_spanned!(at=> #private::Delay::delay(#field));
                quote!(#with => #verdict::snooze(#delay))
            }
            Says::Transparent(member) => {
                let (with, field, at) = (with(member), field(member), member.span());
                let inner =
                    quote_spanned!(at=> #private::verdict(#private::AsError::as_error(#field)));
                quote!(#with => #inner)
            }
        }
    });
    // A reference to an enum without variants has no arms that would do.
    let error = if cases.is_empty() { quote!(*self) } else { quote!(self) };
    let failed = Ident::new("__failed", Span::mixed_site());
    let find = quote_spanned!(ident.span()=> <#ident as #private::ErrorType>::find);
    quote! {
        #[automatically_derived]
        impl #private::Classify for #ident {
            fn classify(&self) -> #verdict {
                match #error {
                    #(#arms,)*
                }
            }
        }

        #private::inventory::submit! {
            #private::Classifier::new(|#failed| {
                #find(#failed).map(<#ident as #private::Classify>::classify)
            })
        }
    }
}
