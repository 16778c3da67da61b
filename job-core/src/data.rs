//! What handlers share: pools, clients, settings, one value a type.

use std::any::{Any, TypeId};
use std::collections::HashMap;
use std::fmt;
use std::ops::Deref;
use std::sync::Arc;

/// A value that the worker was given with [`data`](crate::WorkerBuilder::data), shared by all
/// handlers. Cloning it clones a pointer.
///
/// `T` may be a trait object: `Data<dyn Mailer>` is what
/// [`data_arc`](crate::WorkerBuilder::data_arc) was given as `Arc<dyn Mailer>`.
pub struct Data<T: ?Sized>(Arc<T>);

impl<T: ?Sized> Data<T> {
    /// The shared pointer inside.
    pub fn into_arc(self) -> Arc<T> {
        self.0
    }
}

impl<T> Data<T> {
    /// For calling a handler directly, as in a unit test.
    pub fn new(value: T) -> Self {
        Self(Arc::new(value))
    }
}

impl<T: ?Sized> From<Arc<T>> for Data<T> {
    fn from(shared: Arc<T>) -> Self {
        Self(shared)
    }
}

impl<T: ?Sized> Clone for Data<T> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

impl<T: ?Sized> Deref for Data<T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.0
    }
}

/// Shared state often holds secrets: only its type is shown.
impl<T: ?Sized> fmt::Debug for Data<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Data<{}>", std::any::type_name::<T>())
    }
}

/// The type of a `Data` that a handler needs.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct DataKey {
    id: TypeId,
    name: &'static str,
}

impl DataKey {
    /// The key of `Data<T>`.
    pub fn of<T: ?Sized + 'static>() -> Self {
        Self { id: TypeId::of::<T>(), name: std::any::type_name::<T>() }
    }

    /// The full name of `T`.
    pub fn type_name(&self) -> &'static str {
        self.name
    }
}

impl fmt::Debug for DataKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Data<{}>", self.name)
    }
}

/// One value a type.
#[derive(Clone, Default)]
pub(crate) struct DataMap {
    /// Of each type an `Arc` of it, in another that does not know its type: the inner one may be
    /// of a trait object.
    values: HashMap<TypeId, Arc<dyn Any + Send + Sync>>,
}

impl DataMap {
    /// Puts a value in; `false` if there was one of that type.
    pub(crate) fn insert<T: ?Sized + Send + Sync + 'static>(&mut self, shared: Arc<T>) -> bool {
        self.values.insert(TypeId::of::<T>(), Arc::new(shared)).is_none()
    }

    pub(crate) fn get<T: ?Sized + Send + Sync + 'static>(&self) -> Option<Data<T>> {
        let shared = self.values.get(&TypeId::of::<T>())?.downcast_ref::<Arc<T>>()?;
        Some(Data(Arc::clone(shared)))
    }

    pub(crate) fn get_ref<T: Send + Sync + 'static>(&self) -> Option<&T> {
        let shared = self.values.get(&TypeId::of::<T>())?.downcast_ref::<Arc<T>>()?;
        Some(shared)
    }

    pub(crate) fn holds(&self, key: DataKey) -> bool {
        self.values.contains_key(&key.id)
    }
}

impl fmt::Debug for DataMap {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DataMap").field("len", &self.values.len()).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    trait Speak: Send + Sync {
        fn speak(&self) -> &'static str;
    }
    struct Dog;
    impl Speak for Dog {
        fn speak(&self) -> &'static str {
            "wuff"
        }
    }

    #[test]
    fn one_value_a_type_trait_objects_too() {
        let mut map = DataMap::default();
        assert!(map.insert(Arc::new(7_u32)));
        assert!(!map.insert(Arc::new(8_u32)));
        assert!(map.insert::<dyn Speak>(Arc::new(Dog)));
        assert_eq!(*map.get::<u32>().unwrap(), 8);
        assert_eq!(map.get::<dyn Speak>().unwrap().speak(), "wuff");
        assert!(map.get::<u64>().is_none());
        assert!(map.holds(DataKey::of::<u32>()) && !map.holds(DataKey::of::<u64>()));
    }

    #[test]
    fn debug_shows_the_type_only() {
        assert_eq!(format!("{:?}", Data::new("canary")), "Data<&str>");
    }
}
