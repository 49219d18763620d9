"""Guesses of a user of diffusers in the first hour: each works, or fails at once in one line that names what to type.

Each guess is an expression. `pipe` is a live pipeline, `image` and `other` are arrays, `fast` are quick settings.
"""

import functools
import io
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

import latentedit as le
import latentedit.keeping
from latentedit.core.errors import LatentEditError
from latentedit.numerics.block_lanczos import truncated_svd
from latentedit.testing.miniature import sd3_pipeline

# Guesses that work, as a condition on their results.
WORK = [
    # models and images
    "done(le.edit(pipe, image, add='a beard', **fast))",
    "done(le.edit(model, image, 'a person with a beard', **fast))",
    "done(le.edit(model, 'me.png', 'a person with a beard', **fast))",
    "encoded(Path('me.png')) == encoded(Path('me.png').read_bytes()) == 1",
    "encoded(open('me.png', 'rb')) == encoded(Image.fromarray(image)) == 1",
    "encoded(image / 255) == encoded(tensor) == encoded(tensor[None]) == 1",
    "len(le.edit(model, ['me.png', image], 'a person with a beard', **fast)) == 2",
    "len(le.edit(model, torch.stack([tensor, tensor]), 'a person with a beard', **fast)) == 2",
    "done(le.Session(latent).edit('a person with a beard', num_inference_steps=2)[0])",
    "len(le.encode(pipe, image, source_prompt='a person')) == 1",
    "le.keep(image, image).image.size == (32, 24)",
    # results as images
    "le.keep(image, edit).image.size == le.keep(edit, kept).image.size == (32, 24)",
    "le.check(image, edit).verdict and le.check(kept, image).passed is None",
    "le.check(image, edit).regions == le.check(image, edit).report.regions",
    "done(le.edit(model, kept, add='a beard', **fast))",
    "len(le.edit(model, [edit, kept], add='a beard', **fast)) == 2",
    "len(le.encode(model, edit, source_prompt='a person')) == len(le.encode(model, kept, source_prompt='a person'))",
    # arguments
    "done(le.edit(model, image, remove='a beard', source_prompt='a person with a beard', num_inference_steps=2))",
    "done(le.edit(model, image, target_prompt='a person with a beard', **fast))",
    "le.edit(model, image, add='a beard', generator=torch.Generator().manual_seed(3), **fast).record.seed == 3",
    "done(le.edit(model, image, add='a beard', mask_image=mask, **fast))",
    "done(le.edit(model, image, add='a beard', mask=mask > 0, **fast))",
    "made(le.edit(model, image, add='a beard', guidance_scale=3, method='sdedit', **fast))['guidance'] == 3",
    "made(le.edit(model, image, add='a beard', guidance_scale=3, strength=0.7, **fast))['target_guidance'] == 3",
    "le.edit(model, image, add='a beard', generator=[torch.Generator().manual_seed(3)], **fast).record.seed == 3",
    "le.edit(model, image, add='a beard', negative_prompt=None, seed=None, **fast).record.seed == 0",
    "done(le.edit(model, image, add='a beard', generator=None, progress=print, **fast))",
    "le.edit(model, image, add='a beard', method='eim', guidance_scale=2, **fast).cost.evaluations == 8",
    "searched(le.edit(model, image, add='a beard', method='eim', noises=3, **fast))['noises'] == 3",
    "searched(le.edit(model, image, add='a beard', method='eim', **fast))['steps'] == 2",
    "'seed 3, 4 evaluations' in repr(le.edit(model, image, add='a beard', seed=3, progress=False, **fast))",
    "notes_of('a person with a beard') == notes_of('a woman with a beard') == notes_of('a portrait')",
    "len(notes_of('add a beard')) == len(notes_of('a person with a beard')) + 1",
    "made(le.edit(pipe, image, add='a hat', method='flowedit', src_guidance_scale=3, **fast))['source_guidance'] == 3",
    "made(le.edit(pipe, image, add='a hat', method='flowedit', tar_guidance_scale=3, **fast))['target_guidance'] == 3",
    "made(le.edit(model, image, add='a beard', method='flowedit', n_avg=2, **fast))['noises'] == 2",
    # several strengths and directions
    "len(le.sweep(model, image, 'a person with a beard', strengths=[0, 1], **fast)) == 2",
    "len(le.sweep(pipe, image, 'a person with a beard', **fast)) > 2",
    "done(le.edit(model, other, direction=beard, source_prompt='a person'))",
    "len(le.identify(latent, change='=> a beard', num_inference_steps=2)) == 1",
    "len(le.identify(latent, 'a person with a beard', num_inference_steps=2)) == 1",
    "le.sweep(model, image, add='a beard', strengths=range(2), **fast).save('s.html')[0].stat().st_size > 0",
    "le.sweep(model, image, add='a beard', strengths=[0, 1], **fast).save('s.png')[0].stat().st_size > 0",
    "len(le.sweep(model, image, add='a beard', strengths=[0, 1], **fast).images) == 2",
    "'<iframe' in slider._repr_html_()",
    "done(le.manipulate(latent, direction=beard, strength=0.5))",
    "done(le.manipulate(edit.latent, beard)) and done(le.manipulate(latent, 'x.safetensors'))",
    "le.Direction.load('x.safetensors', model=pipe).z.shape == beard.z.shape",
    # the local geometry
    "len(le.local_basis(latent, rank=1, steps=2, level=0.5)) == 1",
    "len(le.discover(latent, **quick).directions) == 1",
    "at(le.transport(along, edit.latent)) == latent.z.shape",
    "le.geometry.geodesic_distance(basis, basis) < 1e-6 > max(le.geometry.principal_angles(basis.u, basis))",
    "le.geometry.karcher_mean([basis, basis]).basis.shape == le.geometry.chordal_mean([basis, basis]).shape",
    "float(le.geometry.log_columns(basis, basis).abs().max()) < 1e-12",
    "len(le.geometry.transported(basis, basis).v) == 1",
    "basis[-1].z.equal(basis.direction(0).z) and len(basis[:2]) == len(list(basis)) == 1",
    # results
    "edit.images == [edit.image]",
    "np.asarray(edit).tobytes() == edit.image.tobytes() and np.asarray(kept).tobytes() == image.tobytes()",
    "np.asarray(slider).shape == (len(slider), 24, 32, 3)",
    "done(slider[-1]) and slider[0].save('s0.png') and slider.images[0].size == (32, 24)",
    "done(le.edit(model, edit, 'a person with a hat', **fast))",
    "done(le.Session(edit.latent).edit('a person with a hat', num_inference_steps=2)[0])",
    "edit.save('e.png') == (Path('e.png'), Path('e.json')) and Path('e.json').exists()",
    "edit.save('f.png') and le.undo('f.png').tobytes() == edit.undo().tobytes() == image.tobytes()",
    "edit.save('g.png') and latentedit.undo('g.png').tobytes() == image.tobytes()",
    "(-beard).z.equal(-beard.z) and beard.to('cpu').z.equal(beard.z)",
    "le.Direction.load(beard.save('x.direction')) and Path('x.direction.safetensors').exists()",
    "done(le.edit(model, other, direction=str(beard.save('y.direction')), source_prompt='a person'))",
    "'<iframe' in edit._repr_html_() and '<iframe' in le.view([edit])._repr_html_()",
    "edit.cost.evaluations > 0 and edit.verdict.word",
]

# Guesses that fail, and the words of the one line that say what to type.
FAIL = {
    "le.edit('portrats', image, add='a beard')": ["'portraits'"],
    "le.edit('me.png', 'a person with a beard')": ["folder"],
    "le.edit(image, add='a beard')": ["latentedit.load"],
    "le.load(pipe)": ["from_pipeline"],
    "le.encode(model, image, caption='a person')": ["`source_prompt`"],
    "le.geometry.paper_guidance()": ["help(latentedit.geometry.paper_guidance)"],
    "le.from_pipeline('black-forest-labs/FLUX.1-dev')": ["latentedit.load"],
    "le.edit('me.png', change='no glasses => glasses')": ["the model first", "portraits"],
    "le.edit(model, 'https://example.org/me.png', add='a beard', **fast)": ["https://example.org/me.png", "file"],
    "le.edit(model, 3, add='a beard', **fast)": ["path"],
    "le.edit(model, bytes([3]), add='a beard', **fast)": ["image"],
    "le.edit(model, tensor * 2 - 1, add='a beard', **fast)": ["[0, 1]"],
    "le.edit(model, image.astype(int), add='a beard', **fast)": ["uint8"],
    "le.edit(model, image)": ["`prompt`", "`change`"],
    "le.edit(model, image, beard)": ["`direction`"],
    "le.edit(model, image, 5)": ["`prompt` is text", "after model and image"],
    "le.edit(model, 'a person with a beard', image)": ["`prompt` is text", "after model and image"],
    "le.edit(model, image, add=5, **fast)": ["add='glasses'"],
    "le.encode(model, image, source_prompt=5)": ["in words"],
    "le.discover(latent, source_prompt=[5])": ["`encode`"],
    "le.discover(model, image)": ["latentedit.encode(model, image)"],
    "le.discover(latent, rank=0)": ["rank", "at least 1"],
    "le.local_basis(latent, prompt=5)": ["prompt must be text"],
    "le.local_basis(latent, site=5)": ["site must be text"],
    "le.local_basis(latent, seed='a')": ["seed", "whole number"],
    "basis.direction('hair')": ["numbered from 0", "latentedit.discover"],
    "basis['hair']": ["numbered from 0", "latentedit.discover"],
    "le.edit(model, image, '=> a beard', **fast)": ["`change`"],
    "le.manipulate('me.png', beard)": ["latentedit.encode"],
    "le.manipulate(model, image, beard)": ["latentedit.encode(model, image)"],
    "le.manipulate(latent, 'a beard')": ["a beard", "path"],
    "le.manipulate(latent)": ["'direction'", "help(latentedit.manipulate)"],
    "le.transport(beard, latent)": ["latentedit discover"],
    "le.transport(along, image)": ["latentedit.encode"],
    "le.transport(latent)": ["transport(direction, latent)"],
    "le.transport(latent, along)": ["transport(direction, latent)"],
    "le.transport(image, latent)": ["latentedit.discover"],
    "le.edit(model, image, add='a beard', method='HSDS', **fast)": ["'eim'"],
    "le.geometry.local_basis": ["latentedit.local_basis"],
    "le.geometry.parallel_transport": ["latentedit.transport"],
    "le.geometry.x_space_guidance": ["paper_guidance"],
    "le.local_basis('me.png')": ["latentedit.encode"],
    "le.local_basis(model, image)": ["latentedit.encode"],
    "le.local_basis(latent, timestep=3)": ["`level`"],
    "le.local_basis(latent, layer='mid')": ["`site`"],
    "le.local_basis(latent, num_directions=3)": ["help(latentedit.local_basis)"],
    "le.local_basis()": ["latentedit.encode"],
    "le.discover(image)": ["latentedit.encode"],
    "le.discover(basis)": ["`.latent`"],
    "le.Direction.load(folder / 'x.safetensors', model=3)": ["latentedit.load"],
    "beard * 0.5": ["strength=0.5"],
    "0.5 * beard": ["strength=0.5"],
    "beard / 2": ["strength=0.5"],
    "beard * 0.5 + beard": ["strength=0.5"],
    "sum([beard, beard])": ["direction=[a, b]"],
    "latent + beard": ["latentedit.edit"],
    "beard.apply(model, image)": ["latentedit.manipulate"],
    "beard.cuda()": ["`model`"],
    "beard.shape": ["`z`"],
    "beard.vector": ["`z`"],
    "beard.push_to_hub('x')": ["`save(path)`"],
    "beard + beard": ["direction=[a, b]"],
    "beard(image)": ["latentedit.edit"],
    "slider.at(0.3)": ["strengths=[0.3]"],
    "slider.save('x.gif')": [".html", ".png"],
    "slider.grid()": ["`save(path)`", ".png"],
    "slider.to_gif('x.gif')": [".html"],
    "le.check(image, image).verdct": ["'verdict'"],
    "le.keep(image, latent)": ["JointLatent", "path"],
    "le.identify(le.encode(discs, image), add='a beard')": ["no text", "latentedit.discover"],
    "le.edit(discs, image, add='a beard')": ["no text", "latentedit.discover"],
    "le.Session(le.encode(discs, image)).edit('a beard')": ["no text", "latentedit.discover"],
    "le.sweep(discs, image, 'a beard')": ["no text", "latentedit.discover"],
    # unknown names: what exists is listed
    "kept.alpha": ["mask", "changes"],
    "kept.psnr": ["outside_db_after"],
    "kept.save('k.jpg', quality=95)": ["'quality'", "overwrite"],
    "kept.save(io.BytesIO())": ["`path`", "BytesIO"],
    "model.methods": ["`latentedit --help`"],
    "latent.edit()": ["latentedit.edit"],
    "slider.strengths": ["latentedit.sweep"],
    "slider[0.5]": ["strengths=[0.5]"],
    "beard @ beard": ["direction=[a, b]"],
    "edit.verdict.done": ["word"],
    "edit.redo()": ["undo"],
    "edit.record.to_dict()": ["to_json", "recipe"],
    "le.edit(model, image, change={'no glasses': 'glasses'})": ["'no glasses => glasses'"],
    "le.bench": ["`latentedit --help`"],
    "le.register_editor": ["identify", "sweep"],
    "le.methods()": ["`latentedit --help`"],
    "le.calibrate(model)": ["latentedit.calibration.calibrate"],
    "le.decode(latent)": ["`image`"],
    "le.interpolate(latent, latent)": ["latentedit path"],
    "le.compare(beard, beard)": ["latentedit.check"],
    "le.apply(model, image, beard)": ["latentedit.manipulate"],
    "le.edit(model, image, add='a beard', source='a photo', **fast)": ["`source_prompt`"],
    "le.edit(model, image, add='a beard', n_max=24, **fast)": ["`level`"],
    "le.edit(model, image, 'a person', source_prompt='a person')": ["`prompt`", "`source_prompt`"],
    "le.edit(model, image, add='a beard', strength=[0, 0.5, 1], **fast)": ["`sweep`", "`strengths`"],
    "le.edit(model, image, add='a beard', strengths=[0, 0.5, 1], **fast)": ["latentedit.sweep"],
    "le.edit(model, image, add='a beard', strength=70, **fast)": ["`strength`", "0.7"],
    "le.sweep(model, image, add='a beard', strengths=[0, 70], **fast)": ["`strengths`", "0.7"],
    "le.sweep(model, image, add='a beard', strengths=3, **fast)": ["strengths=[0, 0.5, 1]"],
    "le.sweep(model, image, add='a beard', strengths='0.5', **fast)": ["strengths=[0, 0.5, 1]"],
    "le.sweep(model, image, add='a beard', strengths=[], **fast)": ["strengths=[0, 0.5, 1]"],
    "le.edit(model, image, add='a beard', seed=1.5, **fast)": ["seed", "whole number"],
    "le.edit(model, image, add='a beard', guidance_scale=3, method='loco', **fast)": ["'guidance_scale'"],
    "le.edit(model, image, add='a beard', generator=[torch.Generator()] * 2, **fast)": ["seed", "whole number"],
    "le.from_pipeline(model)": ["a model already"],
    "le.keep(image, image, only='1,3')": ["[1, 3]"],
    "le.keep(image, image, only=(n for n in [1]))": ["[1, 3]"],
    "le.keep(image, image, strength='all')": ["`strength`"],
    "le.edit(model, image, add='a beard', method='EIM ', **fast)": ["'eim'"],
    "le.edit(model, image, add='a beard', device='cuda', **fast)": ["latentedit.load"],
    "le.edit(model, image, add='a beard', output='out.png', **fast)": ["`image`"],
    "le.edit(model, image, ['a hat', 'a beard'], **fast)": ["one `prompt`"],
    "le.edit(model, image, direction='none.safetensors')": ["none.safetensors", "path"],
    "le.load_direction('x.direction.safetensors')": ["latentedit.identify"],
    "le.from_pretrained('portraits')": ["`model`"],
    "le.load_model('portraits')": ["latentedit.load"],
    "le.load('portraits', torch_dtype=torch.float32)": ["`model`"],
    "le.invert(pipe, image)": ["latentedit.encoding.invert"],
    "le.find_direction(pipe, image)": ["latentedit.identification.find_direction"],
    "le.list_methods()": ["`latentedit --help`"],
    "model.to('cuda')": ["`model`"],
    "model.enable_model_cpu_offload()": ["`model`"],
    "edit.direction": ["latentedit.identify"],
    "edit.save_direction('x.safetensors')": ["latentedit.identify"],
    "edit.img": ["'image'"],
    "le.edit(model, image, add='a beard', promt='a person', **fast)": ["'prompt'"],
    "le.edit(model, image, add='a beard', strenght=1, **fast)": ["'strength'"],
    "le.edit(model, image, add='a beard', xyzzy=2)": ["help(latentedit.edit)"],
    "le.edit(pipe, image, add='a beard', negative_prompt='a hat', **fast)": ["both captions"],
    "le.edit(pipe, image, add='a beard', height=512, **fast)": ["`image`"],
    "le.edit(pipe, image, add='a beard', output_type='pil', **fast)": ["`image`"],
    "le.edit(pipe, image, add='a beard', callback_on_step_end=print, **fast)": ["`progress`"],
    "le.edit(pipe, image, add='a beard', num_images_per_prompt=2, **fast)": ["`seed`"],
    "le.edit(pipe, image, add='a beard', mask=mask, mask_image=mask, **fast)": ["mask_image"],
    "le.edit(pipe, image, add='a beard', seed=3, generator=torch.Generator(), **fast)": ["generator"],
    "le.edit(pipe, image, add='a beard', steps=4, **fast)": ["'steps'", "'num_inference_steps'"],
    "le.edit(pipe, image, add='a beard', guidance_scale=3, true_cfg_scale=5, **fast)": ["'true_cfg_scale'"],
    "le.identify(latent, add='a beard', steps=2, num_inference_steps=4)": ["'steps'", "'num_inference_steps'"],
    "le.edit(pipe, image, add='a beard', ip_adapter_image=image, **fast)": ["`references`"],
    "le.edit(pipe, tensor * 2 - 1, add='a beard', **fast)": ["(x + 1) / 2"],
    "le.Session(latent).sweep(beard, strengths=[0, 1], mask=mask)": ["`encode`", "`edit`"],
    "le.identify(latent, add='a beard', source_prompt='a person')": ["`encode`", "`edit`"],
    "le.manipulate(latent, beard, mask=mask)": ["`encode`", "`edit`"],
    "le.edit(latent, 'a person with a beard')": ["latentedit.Session(latent).edit"],
    "le.edit(model, latent, 'a person with a beard')": ["latentedit.Session(latent).edit"],
    "le.sweep(latent, beard, strengths=[0, 1])": ["latentedit.Session(latent).sweep"],
    "le.edit(edit, 'a person with a hat')": ["edit(model, result)", "latentedit.Session(result.latent).edit"],
    "le.manipulate(edit, beard)": ["`.latent`"],
    "le.identify(latent, change='=> a beard', strength=0.5)": ["'strength'"],
    "le.discover(latent, num_directions=3)": ["help(latentedit.discover)"],
    "edit[0]": ["`.image`"],
    "edit.size": ["`image`"],
    "edit.to_pil()": ["`image`"],
    "edit.numpy()": ["`image`"],
    "edit.output": ["`image`"],
    "edit.target": ["`target_caption`"],
    "edit.latents": ["'latent'"],
    "edit.diff()": ["latentedit.check"],
    "edit.keep()": ["latentedit.keep"],
    "edit.check()": ["latentedit.check"],
    "edit.sweep([0, 1])": ["latentedit.sweep"],
    "edit.at(0.5)": ["latentedit.sweep"],
    "kept.images": ["'image'"],
    "kept.show()": ["`image`"],
    "kept.undo()": ["latentedit.undo"],
    "le.undo(edit)": ["path"],
    "le.undo('f.png', output='x.png')": ["'output'", "takes: path"],
    "le.view(image)": ["latentedit.edit"],
    "le.replay('e.json')": ["'model'", "help(latentedit.replay)"],
    # the model
    "model(image, 'a beard')": ["latentedit.edit"],
    "model(prompt='a beard', image=image)": ["latentedit.edit"],
    "model.edit(image, 'a beard')": ["latentedit.edit"],
    "model.pipe": ["`model`"],
    "model.transformer": ["pipeline"],
    "model.scheduler": ["pipeline"],
    "model.eval()": ["pipeline"],
    "model.enable_attention_slicing()": ["pipeline"],
    "le.wrap_pipeline(model)(image, 'a beard')": ["latentedit.edit"],
    "le.wrap_pipeline('portraits')": ["pipeline"],
    "le.load(None)": ["name"],
    "le.load('portraits', variant='fp16')": ["help(latentedit.load)"],
    "le.edit(model, image, add='a beard', lora='a.safetensors', **fast)": ["`model`"],
    "le.from_pipeline()": ["'pipeline'"],
    # latents and bases
    "latent.image": ["'images'"],
    "latent.shape": ["`z`"],
    "latent.to('cpu')": ["`model`"],
    "le.encode(image)": ["'image'", "help(latentedit.encode)"],
    # arguments of another kind
    "le.edit(model, image, add='a beard', method=3, **fast)": ["'eim'"],
    "le.edit(model, image, direction=beard.z)": ["latentedit.identify"],
    "le.edit(model, image, text='a person', **fast)": ["`prompt`"],
    "le.edit(pipeline=pipe, image=image, prompt='a person', **fast)": ["`model`"],
    "le.edit(model, image, add='a beard', bbox=(0, 0, 8, 8), **fast)": ["`mask`"],
    "le.manipulate(latent, beard, 2.0)": ["positional", "help(latentedit.manipulate)"],
    "le.manipulate(latent, beard, scale=2)": ["`strength`"],
    "le.identify(model, image, 'a person with a beard')": ["latentedit.encode(model, image)"],
    "le.keep(image)": ["'edited'", "help(latentedit.keep)"],
    "le.keep(image, image, output='x.png')": ["'output'", "help(latentedit.keep)"],
    "le.check(image, image, max_outside='1%')": ["0.001"],
    # the module
    "le.blend(beard, beard)": ["latentedit.keep"],
    "le.caption(model, image)": ["latentedit caption"],
    "le.diff(image, image)": ["latentedit.check"],
    "le.inpaint(model, image)": ["latentedit.edit"],
    "le.list_models()": ["`latentedit --help`"],
    "le.segment(image)": ["`mask`"],
    "le.set_seed(3)": ["`seed`"],
    "le.show(edit)": ["`image`"],
    "le.train_direction(model, image)": ["latentedit.identify"],
}


@pytest.fixture(scope="module")
def short_search() -> Iterator[None]:
    """A local basis from few products: on random weights, a search goes on to the end."""
    with pytest.MonkeyPatch.context() as patch:
        search = functools.partial(truncated_svd, most_products=4)
        patch.setattr("latentedit.geometry.pullback.truncated_svd", search)
        yield


@pytest.fixture(scope="module")
def names(tmp_path_factory: pytest.TempPathFactory, short_search: None) -> dict[str, Any]:
    pipe, random = sd3_pipeline(t5=False), np.random.default_rng(0)
    image, other = (random.integers(0, 256, (24, 32, 3), dtype=np.uint8) for _ in range(2))
    mask = np.zeros((24, 32), dtype=np.uint8)
    mask[4:20, 4:28] = 255
    folder, two = Path(tmp_path_factory.mktemp("first-hour")), {"num_inference_steps": 2}
    fast = {"source_prompt": "a person", **two}
    Image.fromarray(image).save(folder / "me.png")
    model = le.from_pipeline(pipe)
    latent = le.encode(model, image, source_prompt="a person")
    beard = le.identify(latent, add="a beard", num_inference_steps=2)
    beard.save(folder / "x.safetensors")
    quick = {"rank": 1, "steps": 2, "level": 0.5}
    basis = le.local_basis(latent, **quick)
    return {
        **globals(),
        **locals(),
        "io": io,
        "latentedit.keeping": latentedit.keeping,
        "tensor": torch.from_numpy(image / 255).permute(2, 0, 1),
        "beard": beard,
        "edit": le.edit(model, image, "a person with a beard", **fast),
        "slider": le.Session(latent).sweep(beard, strengths=[0, 1])[0],
        "kept": le.keep(image, image),
        "basis": basis,
        "along": basis.direction(0),
        "discs": le.load("pixels-discs"),
        "at": lambda transported: transported.carried.direction.z.shape,
        "encoded": lambda shown: len(le.encode(model, shown, source_prompt="a person")),
        "notes_of": functools.cache(lambda prompt: le.edit(model, image, prompt, **fast).notes),
        "searched": lambda result: result.record.directions[0].settings,
        "made": lambda result: result.record.recipe.settings,
        "done": lambda result: result.image.size == (32, 24),
    }


@pytest.mark.slow_except(
    "'<iframe' in edit._repr_html_() and '<iframe' in le.view([edit])._repr_html_()",
    "'<iframe' in slider._repr_html_()",
    "basis[-1].z.equal(basis.direction(0).z) and len(basis[:2]) == len(list(basis)) == 1",
    "edit.cost.evaluations > 0 and edit.verdict.word",
    "edit.images == [edit.image]",
    "le.check(image, edit).verdict and le.check(kept, image).passed is None",
    "len(le.geometry.transported(basis, basis).v) == 1",
    "np.asarray(edit).tobytes() == edit.image.tobytes() and np.asarray(kept).tobytes() == image.tobytes()",
)
@pytest.mark.parametrize("guess", WORK)
def test_works(guess: str, names: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(names["folder"])
    assert eval(guess, names)


@pytest.mark.parametrize("guess", FAIL)
def test_fails_at_once_in_one_line(guess: str, names: dict[str, Any]) -> None:
    with names["model"].count() as counted, pytest.raises((LatentEditError, AttributeError)) as caught:
        eval(guess, names)
    assert counted.evaluations == 0
    text = str(caught.value)
    assert [word for word in FAIL[guess] if word not in text] == [], text
    assert len(text.splitlines()) == 1
    assert len(text) < 1000


def test_representations_are_one_line_without_cut_words(names: dict[str, Any]) -> None:
    basis = le.local_basis(names["latent"], rank=1, steps=2, level=0.5)
    discovery = le.discover(names["latent"], rank=1, steps=2, level=0.5)
    long = " and ".join(["a", "a beard", "a smile"] * 9)
    latent = le.encode(names["model"], names["image"], source_prompt=long)
    shown = [latent, names["edit"], names["beard"], basis, discovery, discovery.directions]
    for text in map(repr, shown):
        assert len(text) < 200, text
        assert "\n" not in text
    assert {word.strip('">') for word in repr(latent).partition('"')[2].split()} <= {*long.split(), "..."}
    assert '"a person => a person with a beard"' in repr(names["edit"])


def test_show_opens_the_image(names: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    opened: list[str] = []
    monkeypatch.setattr(Image.Image, "show", lambda image: opened.append(image.mode))
    names["edit"].show()
    assert opened == ["RGB"]
