#include "cluster/hdf5_calls.hpp"

#include <algorithm>
#include <cerrno>
#include <cstdlib>
#include <system_error>

#include "cluster/error.hpp"

namespace quench::cluster::hdf5 {

namespace {

// Runs before main(), and so before MPI starts.
bool prepare() {
  // HDF5 uses no shared file pointers, but Open MPI sets them up: by default with a named
  // semaphore, on which the next start would wait for ever when this one is killed while it holds
  // it.
  setenv("OMPI_MCA_sharedfp", "individual", 0);
  // Everything is closed by its owner. Started after MPI, HDF5 would close everything once more
  // when MPI ends, and crash on a file that a full disk kept from closing.
  return H5dont_atexit() >= 0 && H5open() >= 0 && H5Eset_auto2(H5E_DEFAULT, nullptr, nullptr) >= 0;
}

const bool prepared = prepare();

herr_t collect(unsigned, const H5E_error2_t* error, void* messages) {
  if (error->desc != nullptr && *error->desc != '\0')
    static_cast<std::vector<std::string>*>(messages)->emplace_back(error->desc);
  return 0;
}

void write_attribute(hid_t object, const std::string& key, hid_t type, const void* value) {
  if (checked(H5Aexists(object, key.c_str()), "H5Aexists") > 0)
    checked(H5Adelete(object, key.c_str()), "H5Adelete");
  const Handle space(H5Screate(H5S_SCALAR), H5Sclose, "H5Screate");
  const Handle attribute(H5Acreate2(object, key.c_str(), type, space, H5P_DEFAULT, H5P_DEFAULT),
                         H5Aclose, "H5Acreate2");
  checked(H5Awrite(attribute, type, value), "H5Awrite");
}

Handle open_attribute(hid_t object, const std::string& key) {
  if (checked(H5Aexists(object, key.c_str()), "H5Aexists") == 0)
    throw DataError("attribute \"" + key + "\" is missing");
  return {H5Aopen(object, key.c_str(), H5P_DEFAULT), H5Aclose, "H5Aopen"};
}

}  // namespace

std::unique_lock<std::mutex> lock() {
  static std::mutex mutex;
  if (!prepared) throw InternalError("HDF5 cannot be initialised");
  return std::unique_lock(mutex);
}

void fail(const char* call) {
  const int error = errno;
  std::vector<std::string> messages;  // innermost first
  H5Ewalk2(H5E_DEFAULT, H5E_WALK_UPWARD, collect, &messages);
  std::string text(call);
  constexpr std::size_t shown = 2;
  for (std::size_t i = 0; i < std::min(shown, messages.size()); ++i)
    text += (i == 0 ? ": " : "; ") + messages[i];
  // Open MPI keeps the reason of a failed write to itself.
  if (error == ENOSPC || error == EDQUOT || error == EFBIG || error == EIO)
    text += "; " + std::generic_category().message(error);
  throw DataError(text);
}

template <>
hid_t type_of<std::uint8_t>() {
  return H5T_STD_U8LE;
}
template <>
hid_t type_of<std::int32_t>() {
  return H5T_STD_I32LE;
}
template <>
hid_t type_of<std::int64_t>() {
  return H5T_STD_I64LE;
}
template <>
hid_t type_of<float>() {
  return H5T_IEEE_F32LE;
}
template <>
hid_t type_of<double>() {
  return H5T_IEEE_F64LE;
}

std::string type_name(hid_t type) {
  const auto bits = std::to_string(8 * H5Tget_size(type));
  switch (H5Tget_class(type)) {
    case H5T_INTEGER:
      return (H5Tget_sign(type) == H5T_SGN_NONE ? "uint" : "int") + bits;
    case H5T_FLOAT:
      return "float" + bits;
    default:
      return "another type";
  }
}

Handle open_object(hid_t file, const std::string& name) {
  return {H5Oopen(file, name.c_str(), H5P_DEFAULT), H5Oclose, "H5Oopen"};
}

Handle open_dataset(hid_t file, const std::string& name) {
  return {H5Dopen2(file, name.c_str(), H5P_DEFAULT), H5Dclose, "H5Dopen2"};
}

bool contains(hid_t file, const std::string& name) {
  // H5Lexists fails, rather than saying no, when a group on the way is missing.
  for (auto slash = name.find('/', 1); slash != std::string::npos;
       slash = name.find('/', slash + 1))
    if (H5Lexists(file, name.substr(0, slash).c_str(), H5P_DEFAULT) <= 0) return false;
  return name == "/" || H5Lexists(file, name.c_str(), H5P_DEFAULT) > 0;
}

std::vector<hsize_t> shape_of(hid_t dataset) {
  const Handle space(H5Dget_space(dataset), H5Sclose, "H5Dget_space");
  const int rank = checked(H5Sget_simple_extent_ndims(space), "H5Sget_simple_extent_ndims");
  std::vector<hsize_t> shape(static_cast<std::size_t>(rank));
  checked(H5Sget_simple_extent_dims(space, shape.data(), nullptr), "H5Sget_simple_extent_dims");
  return shape;
}

void write_attribute(hid_t object, const std::string& key, const std::string& value) {
  const Handle type(H5Tcopy(H5T_C_S1), H5Tclose, "H5Tcopy");
  checked(H5Tset_size(type, std::max<std::size_t>(1, value.size())), "H5Tset_size");
  checked(H5Tset_strpad(type, H5T_STR_NULLPAD), "H5Tset_strpad");
  checked(H5Tset_cset(type, H5T_CSET_UTF8), "H5Tset_cset");
  write_attribute(object, key, type, value.c_str());
}

void write_attribute(hid_t object, const std::string& key, double value) {
  write_attribute(object, key, H5T_IEEE_F64LE, &value);
}

void write_attribute(hid_t object, const std::string& key, std::int64_t value) {
  write_attribute(object, key, H5T_STD_I64LE, &value);
}

std::string read_text(hid_t object, const std::string& key) {
  const auto attribute = open_attribute(object, key);
  const Handle type(H5Aget_type(attribute), H5Tclose, "H5Aget_type");
  const Handle space(H5Aget_space(attribute), H5Sclose, "H5Aget_space");
  if (H5Tget_class(type) != H5T_STRING || H5Tis_variable_str(type) != 0 ||
      H5Sget_simple_extent_npoints(space) != 1)
    throw DataError("attribute \"" + key + "\" is not text of fixed size");
  std::string value(H5Tget_size(type), '\0');
  checked(H5Aread(attribute, type, value.data()), "H5Aread");
  value.resize(value.find_last_not_of('\0') + 1);
  return value;
}

double read_number(hid_t object, const std::string& key) {
  const auto attribute = open_attribute(object, key);
  const Handle type(H5Aget_type(attribute), H5Tclose, "H5Aget_type");
  const Handle space(H5Aget_space(attribute), H5Sclose, "H5Aget_space");
  const auto kind = H5Tget_class(type);
  if ((kind != H5T_INTEGER && kind != H5T_FLOAT) || H5Sget_simple_extent_npoints(space) != 1)
    throw DataError("attribute \"" + key + "\" is not one number");
  double value = 0;
  checked(H5Aread(attribute, H5T_NATIVE_DOUBLE, &value), "H5Aread");
  return value;
}

Handle create_dataset(hid_t file, const std::string& name, hid_t type,
                      const std::vector<hsize_t>& shape) {
  const Handle space(H5Screate_simple(static_cast<int>(shape.size()), shape.data(), nullptr),
                     H5Sclose, "H5Screate_simple");
  const Handle links(H5Pcreate(H5P_LINK_CREATE), H5Pclose, "H5Pcreate");
  checked(H5Pset_create_intermediate_group(links, 1), "H5Pset_create_intermediate_group");
  checked(H5Pset_char_encoding(links, H5T_CSET_UTF8), "H5Pset_char_encoding");
  const Handle creation(H5Pcreate(H5P_DATASET_CREATE), H5Pclose, "H5Pcreate");
  checked(H5Pset_alloc_time(creation, H5D_ALLOC_TIME_EARLY), "H5Pset_alloc_time");
  checked(H5Pset_fill_time(creation, H5D_FILL_TIME_NEVER), "H5Pset_fill_time");
  return {H5Dcreate2(file, name.c_str(), type, space, links, creation, H5P_DEFAULT), H5Dclose,
          "H5Dcreate2"};
}

void write_slab(hid_t dataset, hid_t transfer, const Slab& slab) {
  const Handle file_space(H5Dget_space(dataset), H5Sclose, "H5Dget_space");
  auto counts = shape_of(dataset);
  counts[0] = static_cast<hsize_t>(slab.rows);
  std::vector<hsize_t> start(counts.size(), 0);
  start[0] = static_cast<hsize_t>(slab.begin);
  const Handle memory_space(
      H5Screate_simple(static_cast<int>(counts.size()), counts.data(), nullptr), H5Sclose,
      "H5Screate_simple");
  if (slab.rows == 0) {  // takes part in the collective call with nothing
    checked(H5Sselect_none(file_space), "H5Sselect_none");
    checked(H5Sselect_none(memory_space), "H5Sselect_none");
  } else {
    checked(H5Sselect_hyperslab(file_space, H5S_SELECT_SET, start.data(), nullptr, counts.data(),
                                nullptr),
            "H5Sselect_hyperslab");
  }
  const Handle type(H5Dget_type(dataset), H5Tclose, "H5Dget_type");
  const std::byte nothing{};
  checked(H5Dwrite(dataset, type, memory_space, file_space, transfer,
                   slab.data != nullptr ? slab.data : &nothing),
          "H5Dwrite");
}

void check_file(const std::string& path) {
  const Handle file(H5Fopen(path.c_str(), H5F_ACC_RDONLY, H5P_DEFAULT), H5Fclose, "H5Fopen");
  const auto go_on = [](hid_t, const char*, const H5O_info_t*, void*) -> herr_t { return 0; };
  checked(H5Ovisit2(file, H5_INDEX_NAME, H5_ITER_NATIVE, go_on, nullptr, H5O_INFO_ALL),
          "H5Ovisit2");
}

}  // namespace quench::cluster::hdf5
