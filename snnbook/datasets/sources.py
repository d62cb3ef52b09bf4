"""The catalogue of data sets: the shape and size of each, its published files, their mirrors and checksums."""

import math
from dataclasses import dataclass, field

SPLITS = ("train", "test")

IDX_FILES = {
    "train": ("train-images-idx3-ubyte", "train-labels-idx1-ubyte"),
    "test": ("t10k-images-idx3-ubyte", "t10k-labels-idx1-ubyte"),
}
"""Images and labels of each split, by the names under which MNIST and Fashion-MNIST were published, without .gz."""


@dataclass(frozen=True, kw_only=True)
class Source:
    """One data set.

    Args:
        name: of the data set
        shape: (C, H, W) of an image or frame
        classes: number of classes; labels are 0 .. classes - 1
        sizes: images in the training set and in the test set
        format: "idx" (idx.py), "cifar" (cifar.py) or "events" (nmnist.py)
        files: of each split; names of files that gzip packed are without .gz
        folders: names that its folder may have; the cache folder uses the first
        mirrors: addresses of folders that hold the files, tried in this order; none for a bundled data set
        checksums: of each file, as "sha256:..." or "md5:..."; of an IDX file unpacked, because mirrors, Debian and
            other libraries have packed the same content in different ways
        addresses: of files in a mirror's folder, where these differ from their names
        hashes: `Dataset.sha256` of the published splits; empty where they are not known
    """

    name: str
    shape: tuple[int, int, int]
    classes: int
    sizes: tuple[int, int]
    format: str
    files: dict[str, tuple[str, ...]]
    folders: tuple[str, ...]
    mirrors: tuple[str, ...]
    checksums: dict[str, str]
    addresses: dict[str, str] = field(default_factory=dict)
    hashes: dict[str, str] = field(default_factory=dict)

    @property
    def events(self) -> bool:
        """Whether the data set consists of recordings of events, which become frames over time."""
        return self.format == "events"

    @property
    def most_bytes(self) -> int:
        """Upper bound on the bytes of a published file, packed or not; downloads stop there."""
        # An image has at most two label bytes. A recording has some 20,000 bytes.
        bytes_each = 2**15 if self.events else math.prod(self.shape) + 2
        return sum(self.sizes) * bytes_each + 2**20

    def published(self, file: str) -> str:
        """Return the name under which a file is published."""
        return f"{file}.gz" if self.format == "idx" else file


_ALL = (
    Source(
        name="mnist",
        shape=(1, 28, 28),
        classes=10,
        sizes=(60_000, 10_000),
        format="idx",
        files=IDX_FILES,
        folders=("mnist", "MNIST/raw"),
        mirrors=(
            "https://ossci-datasets.s3.amazonaws.com/mnist/",
            "https://storage.googleapis.com/cvdf-datasets/mnist/",
        ),
        checksums={
            "train-images-idx3-ubyte": "sha256:ba891046e6505d7aadcbbe25680a0738ad16aec93bde7f9b65e87a2fc25776db",
            "train-labels-idx1-ubyte": "sha256:65a50cbbf4e906d70832878ad85ccda5333a97f0f4c3dd2ef09a8a9eef7101c5",
            "t10k-images-idx3-ubyte": "sha256:0fa7898d509279e482958e8ce81c8e77db3f2f8254e26661ceb7762c4d494ce7",
            "t10k-labels-idx1-ubyte": "sha256:ff7bcfd416de33731a308c3f266cc351222c34898ecbeaf847f06e48f7ec33f2",
        },
        hashes={
            "train": "edc0d1098aa497be14ace79ddd5171e5a3dcf9c4d196c015389203eb3ba1f59b",
            "test": "c3f9adf9c66efb572b1f9326c3a511b45910c7173b97be66ceceeeeaef6b802b",
        },
    ),
    Source(
        name="fashion_mnist",
        shape=(1, 28, 28),
        classes=10,
        sizes=(60_000, 10_000),
        format="idx",
        files=IDX_FILES,
        folders=("fashion-mnist", "fashion_mnist", "FashionMNIST/raw"),
        mirrors=(
            "https://raw.githubusercontent.com/zalandoresearch/fashion-mnist/master/data/fashion/",
            "https://storage.googleapis.com/tensorflow/tf-keras-datasets/",
            "http://fashion-mnist.s3-website.eu-central-1.amazonaws.com/",
        ),
        checksums={
            "train-images-idx3-ubyte": "sha256:c59f468a2f672dc815687fe0f83887768d799fd8a3f3276145d20f83aa44d888",
            "train-labels-idx1-ubyte": "sha256:bad3541b69d912435c50bb6ba87bec294ff4f6a2e1246121d8633921760443d9",
            "t10k-images-idx3-ubyte": "sha256:5b4141f0afbad91edebe8549f8fcffe087ea10ca49f1dbef5c9a5cd8815ce37b",
            "t10k-labels-idx1-ubyte": "sha256:0402a96d92fd2663957122ceb108a494c5af83dab82d92729df917d7dec38c34",
        },
        hashes={
            "train": "16d82e2b505296aa2b78bd5ea0992634f30419a4c97def7c907d154a35ac6157",
            "test": "9f1ec356a747bfe4ebab3cfb722d3694c9ca737e2570f6f90cf31d7b6fd689d4",
        },
    ),
    Source(
        name="fashion_mnist_subset",
        shape=(1, 28, 28),
        classes=10,
        sizes=(2_000, 1_000),
        format="idx",
        files=IDX_FILES,
        folders=("fashion_mnist_subset",),
        mirrors=(),
        checksums={
            "train-images-idx3-ubyte": "sha256:a724cd72799a6b1c3a81c4263865a75a73bb6473673b3394e34adf222930f19e",
            "train-labels-idx1-ubyte": "sha256:4738fd437c0f8d6498ae7f6f5c86f1cc3c878d4116ff169fc5635bd6847899cc",
            "t10k-images-idx3-ubyte": "sha256:7cee33c3c6414b1b86c25e665a6c4f41584269de3b7cc9768b1d351922845eef",
            "t10k-labels-idx1-ubyte": "sha256:3128d790775889812b73c4f13923559c8b9e281d112c6ea7862acf60a206a909",
        },
        hashes={
            "train": "a64df1266d6df5d0c198c28e895ed8565030f194aa4506494ee192f57aeb7349",
            "test": "22489d4842e74e85dc8dfa1e618d5c8b760cc913f0c941bf9aebbb0d0b933b9e",
        },
    ),
    Source(
        name="nmnist",
        shape=(2, 34, 34),
        classes=10,
        sizes=(60_000, 10_000),
        format="events",
        files={"train": ("Train.zip",), "test": ("Test.zip",)},
        folders=("n-mnist", "nmnist", "NMNIST"),
        mirrors=("https://data.mendeley.com/public-files/datasets/468j46mzdv/files/",),
        # No SHA-256 is published. Other libraries' loaders use the same MD5.
        checksums={
            "Train.zip": "md5:20959b8e626244a1b502305a9e6e2031",
            "Test.zip": "md5:69ca8762b2fe404d9b9bad1103e97832",
        },
        addresses={
            "Train.zip": "39c25547-014b-4137-a934-9d29fa53c7a0/file_downloaded",
            "Test.zip": "05a4d654-7e03-4c15-bdfa-9bb2bcbea494/file_downloaded",
        },
    ),
    Source(
        name="cifar10",
        shape=(3, 32, 32),
        classes=10,
        sizes=(50_000, 10_000),
        format="cifar",
        files=dict.fromkeys(SPLITS, ("cifar-10-binary.tar.gz",)),
        folders=("cifar10", "cifar-10", "CIFAR10"),
        mirrors=("https://www.cs.toronto.edu/~kriz/",),
        # From TensorFlow Datasets; stronger than the publisher's MD5, c32a1d4ab5d03f1284b67883e8d87530
        checksums={"cifar-10-binary.tar.gz": "sha256:c4a38c50a1bc5f3a1c5537f2155ab9d68f9f25eb1ed8d9ddda3db29a59bca1dd"},
    ),
    Source(
        name="cifar100",
        shape=(3, 32, 32),
        classes=100,
        sizes=(50_000, 10_000),
        format="cifar",
        files=dict.fromkeys(SPLITS, ("cifar-100-binary.tar.gz",)),
        folders=("cifar100", "cifar-100", "CIFAR100"),
        mirrors=("https://www.cs.toronto.edu/~kriz/",),
        # From TensorFlow Datasets; stronger than the publisher's MD5, 03b5dce01913d631647c71ecec9e9cb8
        checksums={
            "cifar-100-binary.tar.gz": "sha256:58a81ae192c23a4be8b1804d68e518ed807d710a4eb253b1f2a199162a40d8ec"
        },
    ),
)

SOURCES = {source.name: source for source in _ALL}
"""The data sets by name."""
