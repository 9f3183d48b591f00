# Finds Concord's C library: find_package(concord_kv), then link concord_kv::concord_kv, which is shared unless
# BUILD_SHARED_LIBS is OFF, or name concord_kv::shared or concord_kv::static.
get_filename_component(_concord_kv_prefix "${CMAKE_CURRENT_LIST_DIR}/../../.." ABSOLUTE)
set(THREADS_PREFER_PTHREAD_FLAG ON)
include(CMakeFindDependencyMacro)
find_dependency(Threads)

if(NOT TARGET concord_kv::shared)
  add_library(concord_kv::shared SHARED IMPORTED)
  set_target_properties(concord_kv::shared PROPERTIES
    IMPORTED_LOCATION "${_concord_kv_prefix}/lib/libconcord_kv.so.0"
    IMPORTED_SONAME "libconcord_kv.so.0"
    INTERFACE_INCLUDE_DIRECTORIES "${_concord_kv_prefix}/include")

  add_library(concord_kv::static STATIC IMPORTED)
  set_target_properties(concord_kv::static PROPERTIES
    IMPORTED_LOCATION "${_concord_kv_prefix}/lib/libconcord_kv.a"
    INTERFACE_INCLUDE_DIRECTORIES "${_concord_kv_prefix}/include"
    INTERFACE_LINK_LIBRARIES "Threads::Threads;dl;rt;m;gcc_s")

  add_library(concord_kv::concord_kv INTERFACE IMPORTED)
  if(DEFINED BUILD_SHARED_LIBS AND NOT BUILD_SHARED_LIBS)
    set_target_properties(concord_kv::concord_kv PROPERTIES INTERFACE_LINK_LIBRARIES concord_kv::static)
  else()
    set_target_properties(concord_kv::concord_kv PROPERTIES INTERFACE_LINK_LIBRARIES concord_kv::shared)
  endif()
endif()
unset(_concord_kv_prefix)
