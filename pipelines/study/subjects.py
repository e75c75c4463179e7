"""The models and data sets that a command is about, opened, told and checked at the door."""

from collections.abc import Sequence

from callbacks.door import meet
from datamodules import ImageDataModule, Joined, open_data
from datamodules.errors import UserError
from lightning_modules import Classifier, load_classifier
from lightning_modules.sources import match_classes
from pipelines.study.options import DataLike, ModelLike
from pipelines.study.setup import Setup
from pipelines.tracking.location import resolved_uri
from pipelines.tracking.schema import check_schema

_WITH_TASKS = ("evaluate", "distill")
"""Commands that know what to do with several heads."""


class Subjects(Setup):
    """Opens models and data sets; see `Setup` for its arguments."""

    @property
    def arch(self) -> str | None:
        """The architecture of a command's one model.

        Raises:
            UserError: several were given.
        """
        if len(self.archs) > 1:
            raise UserError(f"Expected one `arch`, but got {len(self.archs)}.")
        return self.archs[0] if self.archs else None

    def open_data(self, data: DataLike) -> ImageDataModule:
        """The data set of a name, a loader or a data set, which the result will be about.

        Raises:
            UserError: it brings disturbed images, and this command would not measure them.
        """
        opened = open_data(data)
        if opened.own_probes and self.room != "evaluate":
            raise UserError(
                f"{opened.title} holds disturbed images, which only `assay evaluate` measures: "
                f"give `assay {self.room}` the undisturbed data set."
            )
        if isinstance(opened, Joined) and self.room not in ("fine-tune", *_WITH_TASKS):
            raise UserError(
                f"Expected one data set for `assay {self.room}`, but got {opened.title}: only "
                f"fine-tune, {' and '.join(_WITH_TASKS)} know several."
            )
        self.data.append(opened)
        return opened

    def open_model(
        self,
        model: ModelLike,
        data: ImageDataModule,
        new_head: bool = False,
        arch: str | None = None,
    ) -> Classifier:
        """Loads a model and lets the data show it what it wants to see.

        Args:
            model: source or network.
            data: it will be measured on.
            new_head: give it a head for the classes of the data where they are others.
            arch: of a bare checkpoint; default: that of the options.
        """
        if isinstance(model, str):
            self.tell_data(data)
        classes = None if data.classes_counted else data.classes
        classifier = self.load_model(model, data, arch or self.arch, classes, new_head)
        if data.classes_counted and classifier.num_classes > data.num_classes:
            data.classes = classifier.classes  # some of its classes do not occur in the test images
        if isinstance(data, Joined) and not classifier.tasks:
            raise UserError(
                f"Expected a model with a head for each of the data sets {data.title}, but got "
                f"{classifier.title} with one: train it by `assay fine-tune` on them, or give one "
                "data set."
            )
        match_classes(classifier, data.classes, new_head)
        data.adopt(classifier.preprocessing)
        self.meet(classifier, data)
        return classifier

    def load_model(
        self,
        model: ModelLike,
        data: ImageDataModule,
        arch: str | None = None,
        classes: Sequence[str] | None = None,
        new_head: bool = False,
    ) -> Classifier:
        """Loads a model and leaves the data as it is, which may have other classes.

        Args:
            model: source or network.
            data: its preprocessing is taken where the model says nothing of its own.
            arch: of a bare checkpoint.
            classes: that the model must have; None takes those that it has.
            new_head: give it a head for them where it has others.
        """
        self.name_store(model)
        classifier = load_classifier(
            model, arch=arch, data_classes=classes, preprocessing=data.preprocessing,
            new_head=new_head, trust_pickle=self.trust_pickle, said=self.said,
            classes=self.classes, scale=self.answers, weights=self.weights,
        )  # fmt: skip
        if classifier.tasks and not new_head and self.room not in _WITH_TASKS:
            raise UserError(
                f"Expected a model with one head for `assay {self.room}`, but got "
                f"{classifier.title} with the tasks {', '.join(t.name for t in classifier.tasks)}: "
                f"only {' and '.join(_WITH_TASKS)} know several."
            )
        classifier.chunk = self.chunk
        self.models.append(classifier)
        return classifier

    def meet(self, classifier: Classifier, data: ImageDataModule) -> None:
        """Examines a classifier on data that are shown as it wants, and tells what looks wrong."""
        first = meet(classifier, data)
        self.notes += first
        for line in (f"input    {classifier.input_line}", *(f"WARNING  {text}" for text in first)):
            self.say(line)

    def name_store(self, model: ModelLike) -> None:
        """Makes `mlflow:` models come from the store that runs are logged to."""
        if isinstance(model, str) and model.startswith("mlflow:"):
            import mlflow

            uri = resolved_uri(self.tracking.uri, self.root)
            check_schema(uri)
            mlflow.set_tracking_uri(uri)

    def tell_data(self, data: ImageDataModule) -> None:
        """Says once where the images are, however many models are opened for them."""
        line = f"data     {data.title} in {data.root}"
        if line not in self._told:
            self._told.add(line)
            self.say(line)
