// Shows what a node has to say on the node itself: ComfyUI draws the text of its own nodes only.
import { app } from "../../scripts/app.js";
import { ComfyWidgets } from "../../scripts/widgets.js";

const NODES = ["LatentEdit_Check", "LatentEdit_Match"];

/** Call `also` after the method of a node that ComfyUI, or another extension, may have defined. */
function extend(prototype, method, also) {
  const before = prototype[method];
  prototype[method] = function (...values) {
    const result = before?.apply(this, values);
    also.apply(this, values);
    return result;
  };
}

app.registerExtension({
  name: "latentedit.text",
  beforeRegisterNodeDef(nodeType, { name }) {
    if (!NODES.includes(name)) return;
    extend(nodeType.prototype, "onNodeCreated", function () {
      const { widget } = ComfyWidgets.STRING(this, "shown", ["STRING", { multiline: true }], app);
      if (widget.element) widget.element.readOnly = true;
      widget.options.read_only = true;
      widget.serialize = false; // neither in saved graphs
      widget.options.serialize = false; // nor among the inputs, where a new text would run the node again
      this.latenteditText = widget;
    });
    extend(nodeType.prototype, "onExecuted", function (output) {
      this.latenteditText.value = (output.text ?? []).join("\n\n");
    });
  },
});
